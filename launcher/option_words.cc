#include "launcher/option_words.h"

#include <algorithm>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "launcher/suggestion.h"

namespace cordon {
namespace {

void declare(CLI::App& app, const OptionSpec& spec) {
  if (spec.values != nullptr) {
    app.add_option(spec.names, *spec.values)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  } else {
    app.add_flag(spec.names, *spec.is_set)
        ->disable_flag_override()
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  }
}

class Splitter {
 public:
  Splitter(const CLI::App& app, std::string_view verb, OptionPlace place)
      : app_(app), verb_(verb), place_(place) {}

  Status split(std::span<const std::string> arguments) {
    std::size_t at = 0;
    for (; at < arguments.size(); ++at) {
      const std::string& word = arguments[at];
      if (word == "--") {
        ++at;
        break;
      }
      if (word.size() < 2 || word[0] != '-') {
        if (place_ == OptionPlace::kBeforeRest) break;
        rest.push_back(word);
        continue;
      }
      CORDON_TRY_STATUS(word[1] == '-' ? check_long(word) : check_bundle(word));
      options.push_back(word);
      if (!takes_next_word(word)) continue;
      if (at + 1 == arguments.size() || arguments[at + 1] == "--") {
        return plain_error(fmt::format("{} needs a value", word));
      }
      options.push_back(arguments[++at]);
    }
    rest.insert(rest.end(), arguments.begin() + static_cast<std::ptrdiff_t>(at), arguments.end());
    return {};
  }

  std::vector<std::string> options;
  std::vector<std::string> rest;

 private:
  bool takes_next_word(const std::string& word) const {
    if (word[1] != '-' || word.find('=') != std::string::npos) return false;
    return takes_value(word);
  }

  bool takes_value(const std::string& name) const {
    const CLI::Option* const option = app_.get_option_no_throw(name);
    return option != nullptr && option->get_items_expected_max() > 0;
  }

  Status check_bundle(const std::string& word) const {
    for (const char letter : word.substr(1)) {
      if (app_.get_option_no_throw(std::string{'-', letter}) == nullptr) return unknown(word);
    }
    return {};
  }

  Status check_long(const std::string& word) const {
    const std::string name = word.substr(0, word.find('='));
    if (app_.get_option_no_throw(name) == nullptr) return unknown(word);
    if (name.size() != word.size() && !takes_value(name)) {
      return plain_error(fmt::format("{} takes no value; write {}", word, name));
    }
    return {};
  }

  /// The beginning of an option, or one with a typing error.
  std::unexpected<Error> unknown(const std::string& word) const {
    const std::string name = word.substr(0, word.find('='));
    const std::string bare = name.substr(std::min(name.find_first_not_of('-'), name.size()));
    std::vector<std::string_view> known;
    for (const CLI::Option* option : app_.get_options()) {
      for (const std::string& long_name : option->get_lnames()) known.push_back(long_name);
    }
    const auto meant = nearest(bare, known);
    if (meant)
      return plain_error(fmt::format("unknown option {}; did you mean --{}?", word, *meant));
    return plain_error(
        fmt::format("unknown option {}; `cordon {} --help` lists the options", word, verb_));
  }

  const CLI::App& app_;
  std::string_view verb_;
  OptionPlace place_;
};

}  // namespace

Result<std::vector<std::string>> read_options(std::string_view verb,
                                              std::span<const std::string> arguments,
                                              std::span<const OptionSpec> options,
                                              OptionPlace place) {
  CLI::App app;
  app.set_help_flag();
  for (const OptionSpec& spec : options) declare(app, spec);
  Splitter splitter(app, verb, place);
  CORDON_TRY_STATUS(splitter.split(arguments));
  try {
    // CLI11 takes the words last first.
    std::reverse(splitter.options.begin(), splitter.options.end());
    app.parse(splitter.options);
  } catch (const CLI::ParseError& error) {
    return plain_error(error.what());
  }
  return std::move(splitter.rest);
}

}  // namespace cordon

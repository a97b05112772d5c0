// One table of a policy file, read key by key: what nobody asked for is unknown.
//
// toml++ is compiled into the one file that includes this, without exceptions.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "launcher/policy_file.h"
#include "launcher/policy_words.h"
#include "launcher/suggestion.h"

// toml++ 3.3 asserts of a header's first character what nobody has looked at yet ("[@lan]"), and
// handles it right below as an error. Where assertions are off, it tells the compiler that this
// cannot be, which then need not handle it. Neither is wanted of a file that may come with a
// project.
#pragma push_macro("NDEBUG")
#undef NDEBUG
#define TOML_ASSERT(expression) static_cast<void>(0)
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#define TOML_ENABLE_WINDOWS_COMPAT 0
#include <toml++/toml.h>
#pragma pop_macro("NDEBUG")

namespace cordon {

// A file's own text may hold anything; on a terminal it must not move the cursor.
inline std::string printable(std::string text) {
  for (char& character : text) {
    const auto octet = static_cast<std::uint8_t>(character);
    if (octet < 0x20 || octet >= 0x7f) character = '?';
  }
  return text;
}

/// Reads one table: each key by a function that is asked for it, then refuses the others. What is
/// wrong goes to `problems`, and the reading goes on.
class TableReader {
 public:
  TableReader(const toml::table& table, std::string path, std::string_view file,
              std::vector<Problem>& problems)
      : table_(table), path_(std::move(path)), file_(file), problems_(problems) {}

  [[nodiscard]] Place place_of(const toml::node& node) const {
    return place_at(node.source().begin);
  }
  [[nodiscard]] Place place_at(const toml::source_position& position) const {
    return {.file = std::string(file_), .line = position.line, .column = position.column};
  }
  [[nodiscard]] Place place() const { return place_of(table_); }

  void refuse(Place place, std::string words) {
    problems_.push_back({.place = std::move(place), .words = printable(std::move(words))});
  }
  void refuse(const toml::node& node, std::string words) {
    refuse(place_of(node), std::move(words));
  }

  const toml::node* find(std::string_view key) {
    known_.push_back(key);
    return table_.get(key);
  }

  /// `example` is a whole line.
  const toml::table* find_table(std::string_view key, std::string_view example) {
    const toml::node* const node = find(key);
    if (node == nullptr || node->is_table()) return node == nullptr ? nullptr : node->as_table();
    refuse(*node,
           fmt::format("{} is a table, not {}; write {}", full(key), type_words(*node), example));
    return nullptr;
  }

  std::optional<std::string> string(const toml::node& node, std::string_view key,
                                    std::string_view example) {
    if (const auto* const text = node.as_string()) return text->get();
    refuse(node, fmt::format("{} must be a string, not {}; write {}", full(key), type_words(node),
                             example));
    return std::nullopt;
  }

  Setting<std::string> string(std::string_view key, std::string_view example) {
    const toml::node* const node = find(key);
    if (node == nullptr) return std::nullopt;
    auto text = string(*node, key, example);
    if (!text) return std::nullopt;
    return Placed<std::string>{*std::move(text), place_of(*node)};
  }

  /// A list of strings; one string alone is taken as a list of one where `may_be_one`.
  std::vector<Placed<std::string>> strings(std::string_view key, std::string_view example,
                                           bool may_be_one = false) {
    std::vector<Placed<std::string>> texts;
    const toml::node* const node = find(key);
    if (node == nullptr) return texts;
    if (may_be_one && node->is_string()) return {{node->as_string()->get(), place_of(*node)}};
    const toml::array* const list = node->as_array();
    if (list == nullptr) {
      refuse(*node, fmt::format("{} must be a list of strings, not {}; write {}", full(key),
                                type_words(*node), example));
      return texts;
    }
    for (const toml::node& element : *list) {
      auto text = string(element, fmt::format("an element of {}", key), example);
      if (text) texts.push_back({*std::move(text), place_of(element)});
    }
    return texts;
  }

  Setting<bool> boolean(std::string_view key) {
    const toml::node* const node = find(key);
    if (node == nullptr) return std::nullopt;
    if (const auto* const value = node->as_boolean()) {
      return Placed<bool>{value->get(), place_of(*node)};
    }
    refuse(*node, fmt::format("{} must be true or false, not {}", full(key), type_words(*node)));
    return std::nullopt;
  }

  Setting<std::uint32_t> count(std::string_view key) {
    const toml::node* const node = find(key);
    if (node == nullptr) return std::nullopt;
    const auto* const number = node->as_integer();
    if (number == nullptr) {
      refuse(*node, fmt::format("{} must be a number, not {}", full(key), type_words(*node)));
      return std::nullopt;
    }
    if (number->get() < 1 || number->get() > 1'000'000) {
      refuse(*node, fmt::format("{} = {}: must be from 1 to 1000000", full(key), number->get()));
      return std::nullopt;
    }
    return Placed<std::uint32_t>{static_cast<std::uint32_t>(number->get()), place_of(*node)};
  }

  template <class T, std::size_t N>
  Setting<T> word(std::string_view key, const std::array<Word<T>, N>& words) {
    const toml::node* const node = find(key);
    if (node == nullptr) return std::nullopt;
    const auto text = string(*node, key, fmt::format("{} = \"{}\"", key, words[0].text));
    if (!text) return std::nullopt;
    for (const auto& candidate : words) {
      if (candidate.text == *text) return Placed<T>{candidate.value, place_of(*node)};
    }
    std::array<std::string_view, N> known;
    for (std::size_t i = 0; i < N; ++i) known[i] = words[i].text;
    const auto meant = nearest(*text, known);
    refuse(*node, fmt::format("{} = \"{}\": {}it is one of {}", full(key), *text,
                              meant ? fmt::format("did you mean \"{}\"? ", *meant) : "",
                              alternatives(words)));
    return std::nullopt;
  }

  /// A string that `parse` understands.
  template <class T>
  Setting<T> amount(std::string_view key, Result<T> (*parse)(std::string_view),
                    std::string_view example) {
    const Setting<std::string> text = string(key, example);
    if (!text) return std::nullopt;
    const Result<T> value = parse(text->value);
    if (value) return Placed<T>{*value, text->place};
    refuse(text->place, fmt::format("{}: {}", full(key), value.error().message()));
    return std::nullopt;
  }

  /// To be called when every key was asked for.
  void refuse_unknown_keys() {
    for (const auto& [key, node] : table_) {
      if (std::ranges::find(known_, key.str()) != known_.end()) continue;
      const auto meant = nearest(key.str(), known_);
      std::string list;
      for (const std::string_view name : known_) {
        list += fmt::format("{}{}", list.empty() ? "" : ", ", name);
      }
      const std::string where = path_.empty() ? "" : fmt::format(" in [{}]", path_);
      const std::string remedy =
          meant ? fmt::format("did you mean {}?", *meant) : fmt::format("known are {}", list);
      refuse(place_at(key.source().begin),
             fmt::format("unknown key \"{}\"{}; {}", key.str().substr(0, 64), where, remedy));
    }
  }

  [[nodiscard]] std::string full(std::string_view key) const {
    return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
  }

 private:
  [[nodiscard]] static std::string_view type_words(const toml::node& node) {
    switch (node.type()) {
      case toml::node_type::table:
        return "a table";
      case toml::node_type::array:
        return "a list";
      case toml::node_type::string:
        return "a string";
      case toml::node_type::integer:
        return "a number";
      case toml::node_type::floating_point:
        return "a number with a point";
      case toml::node_type::boolean:
        return "true or false";
      case toml::node_type::date:
      case toml::node_type::time:
      case toml::node_type::date_time:
        return "a date or time";
      case toml::node_type::none:
        break;
    }
    return "nothing";
  }

  const toml::table& table_;
  std::string path_;
  std::string_view file_;
  std::vector<Problem>& problems_;
  std::vector<std::string_view> known_;
};

}  // namespace cordon

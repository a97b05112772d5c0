// The command line: which verb is meant, and the verb's own reading of the words behind it.
//
// A verb is a pair of files in verbs/ with one function that reads its words, and one line in the
// table of command_line.cc. Nothing is opened, bound or started while words are read: what the verb
// does is CommandLine::perform, called by main() when all of them are understood.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "launcher/run_options.h"
#include "netstack/base/result.h"

namespace cordon {

struct CommandLine {
  enum class Verb : std::uint8_t {
    kRun,
    kDoctor,
    kShowText,  // --help, --version: print `text` on stdout, exit 0
    kPerform,   // any other verb: `perform`
  };
  Verb verb = Verb::kShowText;
  RunOptions run;
  std::string text;
  std::function<int()> perform;  // returns the status to exit with
};

/// For a verb's reader: print `text` and exit 0 (its --help); or do `perform`.
[[nodiscard]] CommandLine show_text(std::string_view text);
[[nodiscard]] CommandLine perform(std::function<int()> action);

/// `arguments` without the program's own name. The error is one line, without "cordon: ".
[[nodiscard]] Result<CommandLine> parse_command_line(std::span<const std::string> arguments);

}  // namespace cordon

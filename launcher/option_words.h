// The options among a verb's words.
//
// CLI11 reads them; what it would say wrongly or would take too generously (an abbreviation, a
// value for a flag, the next option as a value) is judged before, by messages of our own.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "netstack/base/result.h"

namespace cordon {

struct OptionSpec {
  const char* names = "";                      // "--allow", or "-q,--quiet"; short ones are flags
  std::vector<std::string>* values = nullptr;  // it takes a value, and may be repeated
  bool* is_set = nullptr;                      // it is a flag
};

enum class OptionPlace : std::uint8_t {
  kBeforeRest,  // the first word that is no option ends them: what follows is a command
  kAnywhere,    // options and other words in any order
};

/// Fills what `options` point to and returns the other words. "--" ends the options in any case.
/// Errors are one line and name the option; `verb` is for the remedy.
[[nodiscard]] Result<std::vector<std::string>> read_options(std::string_view verb,
                                                            std::span<const std::string> arguments,
                                                            std::span<const OptionSpec> options,
                                                            OptionPlace place);

}  // namespace cordon

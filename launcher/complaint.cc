#include "launcher/complaint.h"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

namespace cordon {

void complain(std::string_view words, std::string_view verb) {
  do {
    const std::string_view line = words.substr(0, words.find('\n'));
    fmt::print(stderr, "cordon: {}{}{}\n", verb, verb.empty() ? "" : ": ", line);
    words.remove_prefix(std::min(line.size() + 1, words.size()));
  } while (!words.empty());
}

}  // namespace cordon

// What went wrong, told to the person who started the program.
#pragma once

#include <string_view>

namespace cordon {

/// Writes `words` to stderr, each line of them behind "cordon: ", or "cordon: VERB: " where a verb
/// is given.
void complain(std::string_view words, std::string_view verb = {});

}  // namespace cordon

// What is wrong with a file that a person named, where on its path, and what to do about it. The
// kernel's word alone ("No such file or directory") names neither.
#pragma once

#include <cstdint>
#include <string>

#include "netstack/base/result.h"

namespace cordon {

enum class PathUse : std::uint8_t {
  kRead,
  kWrite,  // made where it is not there
};

/// "--log a/b.json: there is no folder a; to make it: mkdir -p a". `code`: the errno of the call
/// that failed on `file`; `shown`: how messages call it, the option that named it included.
[[nodiscard]] std::unexpected<Error> path_error(int code, const std::string& file, PathUse use,
                                                const std::string& shown);
/// The same, called by its path alone.
[[nodiscard]] std::unexpected<Error> path_error(int code, const std::string& file, PathUse use);

/// Why a command could not be executed, in the same manner; a `command` without a slash was looked
/// for in PATH.
[[nodiscard]] std::string command_words(int code, const std::string& command);

}  // namespace cordon

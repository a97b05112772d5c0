// Errors of the host's side: a system call was refused, a file is not there, an option is wrong.
//
// Two shapes, for two places. While starting up and in the launcher an Error carries an errno and a
// chain of words that a person reads ("attach 42: open /proc/42/ns/net: Permission denied"); it may
// allocate. On the datapath an Errno is just the number: nothing there allocates, and the number is
// mapped to what the guest sees.
//
// What the guest sends wrong is neither of these: that is wire/drop.h.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace cordon {

/// An errno as a type, so that it cannot be mistaken for a count or a descriptor.
struct Errno {
  int value = 0;
  friend bool operator==(Errno, Errno) = default;
};

template <class T>
using IoResult = std::expected<T, Errno>;
using IoStatus = std::expected<void, Errno>;

/// A failure told to a person: what was attempted, the errno behind it (0 where there is none).
struct Error {
  int code = 0;
  std::string what;

  /// "what: strerror", or just "what" where there is no errno.
  [[nodiscard]] std::string message() const;
};

template <class T>
using Result = std::expected<T, Error>;
using Status = std::expected<void, Error>;

/// An unexpected Error made from the errno of the call that just failed.
[[nodiscard]] std::unexpected<Error> errno_error(std::string what);
/// The same with the errno given by the caller.
[[nodiscard]] std::unexpected<Error> errno_error(int code, std::string what);
/// An unexpected Error without an errno.
[[nodiscard]] std::unexpected<Error> plain_error(std::string what);
/// Puts "outer: " in front of the chain.
[[nodiscard]] std::unexpected<Error> wrap(std::string_view outer, Error inner);

}  // namespace cordon

#define CORDON_CONCAT_INNER(a, b) a##b
#define CORDON_CONCAT(a, b) CORDON_CONCAT_INNER(a, b)

/// CORDON_TRY(const int fd, open_it());  -- declares `fd`, or returns the error from this function.
#define CORDON_TRY(declaration, ...)                                                 \
  auto CORDON_CONCAT(try_result_, __LINE__) = (__VA_ARGS__);                         \
  if (!CORDON_CONCAT(try_result_, __LINE__))                                         \
    return std::unexpected(std::move(CORDON_CONCAT(try_result_, __LINE__)).error()); \
  declaration = *std::move(CORDON_CONCAT(try_result_, __LINE__))

/// CORDON_TRY_STATUS(do_it());  -- returns the error from this function, or goes on.
#define CORDON_TRY_STATUS(...)                                              \
  do {                                                                      \
    auto try_status = (__VA_ARGS__);                                        \
    if (!try_status) return std::unexpected(std::move(try_status).error()); \
  } while (false)

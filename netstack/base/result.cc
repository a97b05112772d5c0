#include "netstack/base/result.h"

#include <cerrno>
#include <cstring>

namespace cordon {

std::string Error::message() const {
  if (code == 0) return what;
  // strerrordesc_np: thread-safe, no buffer, untranslated, so that messages can be searched for.
  const char* const text = strerrordesc_np(code);
  return what + ": " + (text != nullptr ? std::string(text) : "errno " + std::to_string(code));
}

std::unexpected<Error> errno_error(std::string what) {
  const int code = errno;
  return errno_error(code, std::move(what));
}

std::unexpected<Error> errno_error(int code, std::string what) {
  return std::unexpected(Error{.code = code, .what = std::move(what)});
}

std::unexpected<Error> plain_error(std::string what) {
  return std::unexpected(Error{.code = 0, .what = std::move(what)});
}

std::unexpected<Error> wrap(std::string_view outer, Error inner) {
  inner.what = std::string(outer) + ": " + inner.what;
  return std::unexpected(std::move(inner));
}

}  // namespace cordon

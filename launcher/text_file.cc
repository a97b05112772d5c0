#include "launcher/text_file.h"

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

#include "netstack/host/descriptor/unique_fd.h"

namespace cordon {
namespace {

// Nothing that is read here is larger and still what it should be.
constexpr std::size_t kMaxFileOctets = std::size_t{64} * 1024;

}  // namespace

std::string read_text_file(const std::filesystem::path& path) {
  std::string text;
  // O_NONBLOCK: a fifo in its place is read as empty instead of being waited for.
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.is_open()) return text;
  std::array<char, 4096> buffer;
  while (text.size() < kMaxFileOctets) {
    const ssize_t count = ::read(fd.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
  return text;
}

}  // namespace cordon

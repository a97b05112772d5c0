#include "sandbox/descriptors.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <limits>
#include <sched.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

namespace cordon {
namespace {

Status close_between(unsigned first, unsigned last) {
  if (first > last) return {};
  if (::close_range(first, last, 0) != 0) return errno_error("close_range");
  return {};
}

}  // namespace

Status close_all_but(std::vector<int> kept) {
  std::sort(kept.begin(), kept.end());
  unsigned next = 3;
  for (const int fd : kept) {
    if (fd < 0 || static_cast<unsigned>(fd) < next) continue;
    CORDON_TRY_STATUS(close_between(next, static_cast<unsigned>(fd) - 1));
    next = static_cast<unsigned>(fd) + 1;
  }
  return close_between(next, std::numeric_limits<unsigned>::max());
}

Status own_descriptors(std::vector<int> kept) {
  if (::unshare(CLONE_FILES) != 0) return errno_error("unshare");
  return close_all_but(std::move(kept));
}

Status put_dev_null(int fd, int flags) {
  const UniqueFd null(::open("/dev/null", flags | O_CLOEXEC));
  if (!null.is_open()) return errno_error("open /dev/null");
  if (::dup2(null.get(), fd) < 0) return errno_error("dup2");
  return {};
}

Result<Pipe> open_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return errno_error("pipe2");
  return Pipe{.read = UniqueFd(ends[0]), .write = UniqueFd(ends[1])};
}

Result<std::pair<UniqueFd, UniqueFd>> open_packet_pair() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return errno_error("socketpair");
  }
  return std::pair{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

Status write_file_at(int parent, const char* path, std::string_view content) {
  const UniqueFd file(::openat(parent, path, O_WRONLY | O_CLOEXEC));
  if (!file.is_open()) return errno_error(std::string("open ") + path);
  const ssize_t written = ::write(file.get(), content.data(), content.size());
  if (written < 0) return errno_error(std::string("write ") + path);
  if (static_cast<std::size_t>(written) != content.size()) {
    return errno_error(EIO, std::string("write ") + path);
  }
  return {};
}

Status write_file(const char* path, std::string_view content) {
  return write_file_at(AT_FDCWD, path, content);
}

}  // namespace cordon

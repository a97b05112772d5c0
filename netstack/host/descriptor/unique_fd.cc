#include "netstack/host/descriptor/unique_fd.h"

#include <cerrno>
#include <unistd.h>

namespace cordon {

void UniqueFd::reset(int fd) noexcept {
  const int old = std::exchange(fd_, fd);
  if (old < 0) return;
  const int saved = errno;
  // close() is never retried: on Linux the descriptor is gone whatever it returns (close(2)).
  ::close(old);
  errno = saved;
}

}  // namespace cordon

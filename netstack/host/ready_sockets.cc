#include "netstack/host/ready_sockets.h"

#include <cerrno>
#include <netinet/in.h>
#include <sys/socket.h>

#include "netstack/host/socket_address.h"
#include "netstack/host/socket_options.h"

namespace cordon {

IoResult<UniqueFd> ReadySockets::make(Family family) {
  // syscalls: socket(SOCK_STREAM)
  UniqueFd socket(
      ::socket(socket_family(family), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!socket.is_open()) return std::unexpected(Errno{errno});
  preset_stream(socket.get());
  return socket;
}

IoResult<UniqueFd> ReadySockets::take(Family family) {
  is_wanted_ = true;
  if (count_ > 0 && family_ == family) return std::move(sockets_[--count_]);
  if (count_ == 0) family_ = family;
  return make(family);
}

void ReadySockets::make_one() {
  IoResult<UniqueFd> socket = make(family_);
  // Out of descriptors: the next dial will tell, and ask again.
  is_wanted_ = socket.has_value();
  if (socket) sockets_[count_++] = std::move(*socket);
}

}  // namespace cordon

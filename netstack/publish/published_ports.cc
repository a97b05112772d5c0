#include "netstack/publish/published_ports.h"

#include <cerrno>

namespace cordon {
namespace {

// Connections taken from one listener before the others have their turn.
constexpr int kAcceptBudget = 64;

}  // namespace

void PublishedPorts::on_socket(Instant now, const SocketOwner& owner) {
  if (owner.index >= ports_.size()) return;
  const PublishedTcp& port = ports_[owner.index];
  for (int i = 0; i < kAcceptBudget; ++i) {
    const IoResult<AcceptedStream> accepted = context_.host.accept(port.listener);
    if (accepted) {
      tcp_.on_accepted(now, *accepted, port.guest_port, port.sources);
      continue;
    }
    const int error = accepted.error().value;
    if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM) {
      context_.events.notice(Notice::kNoHostResource, error);
      return rest(now);
    }
    if (error == EAGAIN) return;
    // ECONNABORTED and the network errors that accept(2) lists concern that one connection.
  }
}

void PublishedPorts::rest(Instant now) {
  for (std::uint32_t i = 0; i < ports_.size(); ++i) {
    context_.host.set_listening(ports_[i].listener,
                                SocketOwner{.kind = OwnerKind::kListener, .index = i}, false);
  }
  resume_at_ = now + kListenerRest;
}

void PublishedPorts::on_deadline(Instant now) {
  if (now < resume_at_) return;
  resume_at_ = kNever;
  for (std::uint32_t i = 0; i < ports_.size(); ++i) {
    context_.host.set_listening(ports_[i].listener,
                                SocketOwner{.kind = OwnerKind::kListener, .index = i}, true);
  }
}

}  // namespace cordon

#include "launcher/control/control_socket.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <climits>
#include <fmt/format.h>

namespace cordon {
namespace {

constexpr int kAcceptsPerTurn = 8;

std::string link_text(const std::string& path) {
  std::array<char, PATH_MAX> text{};
  const ssize_t size = ::readlink(path.c_str(), text.data(), text.size());
  return size > 0 ? std::string(text.data(), static_cast<std::size_t>(size)) : std::string();
}

}  // namespace

Status check_peer(int socket) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return errno_error("SO_PEERCRED");
  }
  if (peer.uid != ::geteuid() && peer.uid != 0) {
    return plain_error("this sandbox belongs to another user");
  }
  const std::string ours = link_text("/proc/self/ns/pid");
  if (ours.empty() || link_text(fmt::format("/proc/{}/ns/pid", peer.pid)) != ours) {
    return plain_error("a control socket answers processes of its own pid namespace only");
  }
  return {};
}

ControlSocket::ControlSocket(ControlFolder folder, ControlFolder::Bound bound)
    : folder_(std::move(folder)), listener_(std::move(bound.socket)), id_(std::move(bound.id)) {}

ControlSocket::~ControlSocket() {
  folder_.remove(id_);
  if (loop_ == nullptr) return;
  loop_->forget(listener_.get());
  for (const auto& [id, client] : clients_) loop_->forget(client.socket.get());
}

Status ControlSocket::serve(SideLoop& loop, ControlHandler& handler) {
  loop_ = &loop;
  handler_ = &handler;
  return loop.watch(listener_.get(), EPOLLIN, [this](std::uint32_t) { accept(); });
}

void ControlSocket::accept() {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket.is_open()) return;
    if (const Status peer = check_peer(socket.get()); !peer) {
      refuse(std::move(socket), peer.error().message());
      continue;
    }
    if (clients_.size() == kMostClients) {
      refuse(std::move(socket), "too many clients at once");
      continue;
    }
    const ClientId id = ++last_client_;
    const int fd = socket.get();
    if (!loop_->watch(fd, EPOLLIN, [this, id](std::uint32_t events) { on_ready(id, events); })) {
      continue;
    }
    clients_.emplace(id, Client{.id = id, .socket = std::move(socket)});
  }
}

void ControlSocket::refuse(UniqueFd socket, std::string_view why) {
  const std::string line = fmt::format("{{\"ok\":false,\"error\":\"{}\"}}\n", why);
  // A client that cannot be told sees the end all the same.
  (void)::send(socket.get(), line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

void ControlSocket::watch(const Client& client) {
  const std::uint32_t reading = client.is_heard ? std::uint32_t{EPOLLIN} : 0;
  const std::uint32_t writing = client.is_writing ? std::uint32_t{EPOLLOUT} : 0;
  loop_->change(client.socket.get(), reading | writing);
}

void ControlSocket::on_ready(ClientId id, std::uint32_t events) {
  if ((events & EPOLLOUT) != 0) write(id);
  const bool has_hung_up = (events & (EPOLLHUP | EPOLLERR)) != 0;
  if (has_hung_up || (events & EPOLLIN) != 0) read(id, has_hung_up);
}

void ControlSocket::read(ClientId id, bool has_hung_up) {
  const auto found = clients_.find(id);
  if (found == clients_.end()) return;
  Client& client = found->second;
  std::array<char, 4096> piece{};
  const ssize_t size = ::recv(client.socket.get(), piece.data(), piece.size(), MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size < 0 || (size == 0 && has_hung_up)) return drop(id);
  if (size == 0) {
    // It may have said all that it wanted and still be reading.
    client.is_heard = false;
    return watch(client);
  }
  client.in.append(piece.data(), static_cast<std::size_t>(size));
  handle_lines(id);
}

void ControlSocket::handle_lines(ClientId id) {
  for (;;) {
    // Looked up anew each time: a request may have ended its client.
    const auto found = clients_.find(id);
    if (found == clients_.end() || found->second.is_ending) return;
    std::string& in = found->second.in;
    const std::size_t end_of_line = std::min(in.find('\n'), in.size());
    if (end_of_line > kLongestRequest) {
      send(id, R"({"ok":false,"error":"the line is too long"})");
      return end(id);
    }
    if (end_of_line == in.size()) return;
    const std::string line = in.substr(0, end_of_line);
    in.erase(0, end_of_line + 1);
    handler_->on_request(id, line);
  }
}

void ControlSocket::send(ClientId client, std::string_view line) {
  const auto found = clients_.find(client);
  if (found == clients_.end() || found->second.is_ending) return;
  found->second.out.append(line);
  found->second.out.push_back('\n');
  // Not dropped here: the caller may be going through all clients. The loop hears the hang-up.
  if (found->second.out.size() > kMostUnread) {
    found->second.is_ending = true;
    ::shutdown(found->second.socket.get(), SHUT_RDWR);
  }
  if (found->second.is_writing) return;
  found->second.is_writing = true;
  watch(found->second);
}

std::size_t ControlSocket::waiting(ClientId client) const {
  const auto found = clients_.find(client);
  return found == clients_.end() ? 0 : found->second.out.size();
}

void ControlSocket::end(ClientId client) {
  const auto found = clients_.find(client);
  if (found == clients_.end()) return;
  found->second.is_ending = true;
  if (found->second.is_writing) return;
  found->second.is_writing = true;
  watch(found->second);
}

void ControlSocket::write(ClientId id) {
  const auto found = clients_.find(id);
  if (found == clients_.end()) return;
  Client& client = found->second;
  const ssize_t size = ::send(client.socket.get(), client.out.data(), client.out.size(),
                              MSG_DONTWAIT | MSG_NOSIGNAL);
  if (size < 0 && errno != EAGAIN && errno != EINTR) return drop(id);
  if (size > 0) client.out.erase(0, static_cast<std::size_t>(size));
  if (client.is_ending && client.out.empty()) return drop(id);
  if (!client.out.empty()) return;
  client.is_writing = false;
  watch(client);
  handler_->on_room(id);
}

void ControlSocket::drop(ClientId id) {
  const auto found = clients_.find(id);
  if (found == clients_.end()) return;
  loop_->forget(found->second.socket.get());
  clients_.erase(found);
  handler_->on_client_gone(id);
}

}  // namespace cordon

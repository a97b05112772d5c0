// The sandbox's control socket: lines in, lines out, for the verbs of this user
// (cordon-control(7)).
//
// What the lines mean is the handler's. Here is what keeps a client from harming the run: another
// user's process is turned away (SO_PEERCRED), and so is one of another pid namespace, as the
// sandbox's own are; a request line is at most 8 KiB; at most 16 clients; a client that does not
// read what it is sent is dropped at 1 MiB. Nothing here waits.
//
// kMostWaiting is where a handler that has more to send should wait for on_room().
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <sys/types.h>

#include "launcher/control/control_folder.h"
#include "launcher/side_loop.h"
#include "netstack/base/result.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon {

inline constexpr std::size_t kLongestRequest = 8192;
inline constexpr std::size_t kMostClients = 16;
inline constexpr std::size_t kMostWaiting = 65536;
inline constexpr std::size_t kMostUnread = 1U << 20;

using ClientId = std::uint64_t;

class ControlHandler {
 public:
  virtual ~ControlHandler() = default;
  /// One line of a client, without its end; any octets.
  virtual void on_request(ClientId client, std::string_view line) = 0;
  /// What the client had to be sent has gone.
  virtual void on_room(ClientId client) = 0;
  virtual void on_client_gone(ClientId client) = 0;
};

class ControlSocket {
 public:
  ControlSocket(ControlFolder folder, ControlFolder::Bound bound);
  /// Removes the socket's file.
  ~ControlSocket();
  ControlSocket(const ControlSocket&) = delete;
  ControlSocket& operator=(const ControlSocket&) = delete;

  [[nodiscard]] const std::string& id() const { return id_; }

  /// Begins to accept. Both outlive this.
  [[nodiscard]] Status serve(SideLoop& loop, ControlHandler& handler);

  /// Adds the line's end. A client that has gone, or is dropped for not reading, gets nothing.
  void send(ClientId client, std::string_view line);
  /// Octets that the client has not taken yet.
  [[nodiscard]] std::size_t waiting(ClientId client) const;
  /// Closes once all is sent.
  void end(ClientId client);

 private:
  struct Client {
    ClientId id = 0;
    UniqueFd socket;
    std::string in;
    std::string out;
    bool is_ending = false;  // to be closed once all is sent
    bool is_heard = true;    // it may still send requests
    bool is_writing = false;
  };

  void accept();
  void on_ready(ClientId id, std::uint32_t events);
  void read(ClientId id, bool has_hung_up);
  void handle_lines(ClientId id);
  void watch(const Client& client);
  void write(ClientId id);
  static void refuse(UniqueFd socket, std::string_view why);
  void drop(ClientId id);

  ControlFolder folder_;
  UniqueFd listener_;
  std::string id_;
  SideLoop* loop_ = nullptr;
  ControlHandler* handler_ = nullptr;
  std::map<ClientId, Client> clients_;
  ClientId last_client_ = 0;
};

/// Whether a process may speak to a control socket of this process: same user or root, same pid
/// namespace. The error says why not.
[[nodiscard]] Status check_peer(int socket);

}  // namespace cordon

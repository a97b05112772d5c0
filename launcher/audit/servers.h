// The servers outside. Each hears tokens (plan.h) and writes down what it heard; those that can
// answer do, so that the prober knows too.
//
// Where a server cannot be opened (a port below 1024, a protocol that this kernel lacks, another
// program's socket in the way) that is no failure of the audit: the row says what was missing.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launcher/audit/evidence.h"
#include "launcher/audit/plan.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon::audit {

class Servers {
 public:
  Servers(Waiter& waiter, Evidence& evidence, std::string nonce)
      : waiter_(waiter), evidence_(evidence), nonce_(std::move(nonce)) {}
  Servers(const Servers&) = delete;
  Servers& operator=(const Servers&) = delete;
  ~Servers();

  /// TCP and UDP at one free port of `address`; the port. `zone` as in socket_address().
  [[nodiscard]] Result<std::uint16_t> open_pair(const IpAddress& address, unsigned zone);
  /// One server. Port 0: a free one; the port. `is_absent`: the address may not be there yet.
  [[nodiscard]] Result<std::uint16_t> open_one(Transport transport, const Endpoint& at,
                                               unsigned zone, bool is_absent = false);
  /// `path` as in KnownSocket.
  [[nodiscard]] Status open_unix(const std::string& path);
  /// A member of a multicast group on all `interfaces`, beside other programs that are.
  [[nodiscard]] Status open_group(const Endpoint& group, const std::vector<unsigned>& interfaces);
  /// Hears the echo requests that this host gets (CAP_NET_RAW).
  [[nodiscard]] Status open_echo(Family family);
  /// Hears everything of an IP protocol that this host gets (CAP_NET_RAW).
  [[nodiscard]] Status open_raw(Family family, int protocol);
  /// AF_VSOCK, only where the kernel's own loopback of it is loaded; the port.
  [[nodiscard]] Result<std::uint16_t> open_vsock();
  /// Takes a stream or datagram socket whose other end somebody else has.
  void adopt(UniqueFd socket, std::string name);

  /// A socket that is connected to a server of ours.
  [[nodiscard]] static Result<UniqueFd> connect_to(const Endpoint& server);

 private:
  enum class Kind : std::uint8_t { kListener, kStream, kDatagram, kRaw };
  struct Server {
    UniqueFd fd;
    Kind kind = Kind::kStream;
    std::string name;          // "127.0.0.1:4000"
    std::string text;          // of a stream: what came so far
    std::optional<Leak> only;  // others' tokens are not for it
    IpAddress peer;            // of a stream; unspecified where it has no address
  };
  void add(Server server);
  void on_readable(int fd);
  void accept_one(Server& listener);
  void read_stream(Server& stream);
  void read_datagram(Server& socket);
  /// Whether a token was in it.
  bool hear(std::string_view text, const Server& server, const IpAddress& from);
  void close(int fd);

  Waiter& waiter_;
  Evidence& evidence_;
  std::string nonce_;
  std::map<int, Server> servers_;
};

}  // namespace cordon::audit

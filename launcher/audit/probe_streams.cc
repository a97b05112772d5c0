// Everything that is dialled. All attempts run side by side in one poll loop: a sandbox that drops
// what it denies costs one deadline, not one for each attempt.
//
// A stream that is accepted gets a token and a moment to answer it; a datagram is sent twice. What
// the attempt met is told, and what it means is not judged here.
#include <algorithm>
#include <array>
#include <cerrno>
#include <netinet/in.h>
#include <poll.h>
#include <string_view>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <fmt/format.h>

#include "launcher/audit/host_view.h"
#include "launcher/audit/prober.h"
#include "launcher/audit/socket_address.h"
#include "launcher/host/resolv_conf.h"
#include "launcher/text_file.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon::audit {
namespace {

constexpr std::int64_t kConnectMilliseconds = 1500;
constexpr std::int64_t kAnswerMilliseconds = 700;
constexpr std::int64_t kSecondDatagramMilliseconds = 250;
constexpr std::int64_t kNameMilliseconds = 1500;
constexpr std::int64_t kAddedAddressMilliseconds = 1500;
constexpr timespec kAddedAddressPause{.tv_sec = 0, .tv_nsec = 5'000'000};
constexpr std::size_t kMostAtOnce = 200;
constexpr std::uint16_t kTypeA = 1;
constexpr std::uint16_t kTypePtr = 12;
constexpr std::uint16_t kTypeTxt = 16;
constexpr std::uint16_t kTypeAny = 255;

// Where user-space networks put the host: slirp, QEMU, gvisor-tap-vsock, podman's pasta.
constexpr std::array<std::string_view, 6> kHelperAddresses{
    "10.0.2.2", "10.0.2.3", "192.168.127.1", "192.168.127.254", "169.254.1.1", "169.254.1.2"};

double precise_milliseconds_now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) / 1e6;
}

bool is_dns(Leak leak) { return leak == Leak::kDnsServers || leak == Leak::kDnsEncrypted; }

bool is_stream(Transport transport) {
  return transport == Transport::kTcp || transport == Transport::kSctp;
}

/// RFC 1035 section 4.2.2.
void put_length_in_front(std::string& message) {
  message.insert(0,
                 {static_cast<char>(message.size() >> 8), static_cast<char>(message.size() & 255)});
}

int open_for(const Target& target) {
  const int family = family_of(target.at.address);
  constexpr int kFlags = SOCK_NONBLOCK | SOCK_CLOEXEC;
  switch (target.transport) {
    case Transport::kTcp:
      return ::socket(family, SOCK_STREAM | kFlags, IPPROTO_TCP);
    case Transport::kUdp:
      return ::socket(family, SOCK_DGRAM | kFlags, IPPROTO_UDP);
    case Transport::kUdpLite:
      return ::socket(family, SOCK_DGRAM | kFlags, IPPROTO_UDPLITE);
    case Transport::kSctp:
      return ::socket(family, SOCK_STREAM | kFlags, IPPROTO_SCTP);
  }
  return -1;
}

class Attempt {
 public:
  Attempt(const ProbePlan& plan, Target target, unsigned zone)
      : target_(target),
        zone_(zone),
        way_(fmt::format("{} {}", transport_word(target.transport), target.at.to_string())),
        nonce_(plan.nonce),
        started_(precise_milliseconds_now()) {
    begin();
  }

  [[nodiscard]] bool is_over() const { return is_over_; }
  [[nodiscard]] pollfd wait() const {
    return {.fd = socket_.get(), .events = static_cast<short>(has_spoken_ ? POLLIN : POLLOUT)};
  }

  void on_ready() {
    if (!has_spoken_) {
      int code = 0;
      socklen_t size = sizeof(code);
      ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &code, &size);
      if (code != 0) return end(Outcome::kRefused, error_words(code));
      return speak();
    }
    std::array<char, 512> buffer;
    const ssize_t size = ::recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size < 0) {
      return end(is_stream(target_.transport) ? Outcome::kConnected : Outcome::kRefused,
                 error_words(errno));
    }
    const std::string_view text(buffer.data(), static_cast<std::size_t>(size));
    const bool is_ours = text.find(write_answer(nonce_)) != std::string_view::npos;
    end(Outcome::kConnected, is_ours     ? "answered by the audit's server"
                             : size == 0 ? "accepted, then closed"
                                         : "answered");
  }

  void on_time() {
    const double age = precise_milliseconds_now() - started_;
    if (!has_spoken_) {
      if (age > kConnectMilliseconds) end(Outcome::kSilent, "nothing came back");
      return;
    }
    if (!is_stream(target_.transport) && !has_spoken_twice_ && age > kSecondDatagramMilliseconds) {
      has_spoken_twice_ = true;
      send();
    }
    if (precise_milliseconds_now() - spoken_ > kAnswerMilliseconds) {
      const bool is_accepted = is_stream(target_.transport);
      end(is_accepted ? Outcome::kConnected : Outcome::kSilent,
          is_accepted ? "accepted" : "nothing came back");
    }
  }

  [[nodiscard]] bool is_connected() const { return outcome_ == Outcome::kConnected; }
  [[nodiscard]] std::string told() const {
    return fmt::format("{}: {} after {:.1f} ms", way_, words_, took_);
  }
  void tell(const Teller& teller) const { teller.report(target_.leak, outcome_, told()); }

 private:
  void begin() {
    socket_.reset(open_for(target_));
    if (!socket_.is_open()) return end(Outcome::kRefused, error_words(errno));
    const SocketAddress address = socket_address(target_.at, zone_);
    const int result = ::connect(socket_.get(), address.get(), address.size);
    if (result != 0 && errno != EINPROGRESS) return end(Outcome::kRefused, error_words(errno));
    if (result == 0) speak();
  }

  void speak() {
    has_spoken_ = true;
    spoken_ = precise_milliseconds_now();
    send();
  }

  void send() {
    std::string text = write_token(nonce_, {target_.leak, way_});
    if (is_dns(target_.leak)) {
      text = dns_query(made_up_label(nonce_, target_.leak) + ".example.com", kTypeA, 7);
      if (is_stream(target_.transport)) put_length_in_front(text);
    }
    if (::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 &&
        errno != EAGAIN) {
      end(Outcome::kRefused, error_words(errno));
    }
  }

  void end(Outcome outcome, std::string words) {
    is_over_ = true;
    outcome_ = outcome;
    words_ = std::move(words);
    took_ = precise_milliseconds_now() - started_;
    socket_.reset();
  }

  Target target_;
  unsigned zone_;
  std::string way_;
  std::string nonce_;
  UniqueFd socket_;
  double started_;
  double spoken_ = 0;
  double took_ = 0;
  bool has_spoken_ = false;
  bool has_spoken_twice_ = false;
  bool is_over_ = false;
  Outcome outcome_ = Outcome::kRefused;
  std::string words_;
};

void run_to_end(std::vector<Attempt>& attempts) {
  constexpr int kTurnMilliseconds = 50;
  for (;;) {
    std::vector<pollfd> waits;
    std::vector<Attempt*> waiting;
    for (Attempt& attempt : attempts) {
      if (attempt.is_over()) continue;
      waits.push_back(attempt.wait());
      waiting.push_back(&attempt);
    }
    if (waits.empty()) return;
    if (::poll(waits.data(), waits.size(), kTurnMilliseconds) < 0 && errno != EINTR) return;
    for (std::size_t i = 0; i < waits.size(); ++i) {
      if (waits[i].revents != 0) waiting[i]->on_ready();
      if (!waiting[i]->is_over()) waiting[i]->on_time();
    }
  }
}

void dial(const ProbePlan& plan, const Teller& teller, const std::vector<Target>& targets) {
  std::vector<Attempt> attempts;
  const auto finish = [&] {
    run_to_end(attempts);
    for (const Attempt& attempt : attempts) attempt.tell(teller);
    attempts.clear();
  };
  for (const Target& target : targets) {
    std::vector<unsigned> zones{0};
    if (target.at.address.is_v6() && target.at.address.is_link_local()) {
      zones = outward_interfaces();
      if (zones.empty()) teller.report(target.leak, Outcome::kRefused, "no interface but lo");
    }
    for (const unsigned zone : zones) attempts.emplace_back(plan, target, zone);
    if (attempts.size() >= kMostAtOnce) finish();
  }
  finish();
}

void add_once(std::vector<IpAddress>& list, const IpAddress& address) {
  if (address.is_loopback() || address.is_unspecified()) return;
  if (std::find(list.begin(), list.end(), address) == list.end()) list.push_back(address);
}

std::vector<Target> gateway_targets(const ProbePlan& plan) {
  std::vector<IpAddress> gateways = read_gateways();
  for (const Endpoint& server : parse_resolv_conf(read_text_file("/etc/resolv.conf")).servers) {
    add_once(gateways, server.address);
  }
  for (const std::string_view helper : kHelperAddresses) {
    add_once(gateways, *IpAddress::parse(helper));
  }
  std::vector<Target> targets;
  for (const IpAddress& gateway : gateways) {
    for (const Endpoint& server : plan.loopback) {
      if (server.address.family() != gateway.family()) continue;
      for (const Transport transport : {Transport::kTcp, Transport::kUdp}) {
        targets.push_back({Leak::kGateway, transport, {gateway, server.port}});
      }
    }
  }
  return targets;
}

/// Asks the sandbox's own resolver; whether the question left the host is seen outside.
void ask(const Teller& teller, Leak leak, const Endpoint& server, int type, std::string query) {
  const bool is_tcp = type == SOCK_STREAM;
  const std::string way = fmt::format("{} {}", is_tcp ? "tcp" : "udp", server.to_string());
  const UniqueFd socket(
      ::socket(family_of(server.address), type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.is_open()) return teller.refused(leak, way, errno);
  const SocketAddress address = socket_address(server);
  if (::connect(socket.get(), address.get(), address.size) != 0 && errno != EINPROGRESS) {
    return teller.refused(leak, way, errno);
  }
  pollfd wait{.fd = socket.get(), .events = POLLOUT};
  if (::poll(&wait, 1, kNameMilliseconds) != 1) {
    return teller.report(leak, Outcome::kSilent, way + ": nothing came back");
  }
  if (is_tcp) put_length_in_front(query);
  if (::send(socket.get(), query.data(), query.size(), MSG_NOSIGNAL) < 0) {
    return teller.refused(leak, way, errno);
  }
  wait.events = POLLIN;
  std::array<char, 512> answer;
  if (::poll(&wait, 1, kNameMilliseconds) != 1) {
    return teller.report(leak, Outcome::kSilent, way + ": no answer");
  }
  const ssize_t size = ::recv(socket.get(), answer.data(), answer.size(), 0);
  if (size < 0) return teller.refused(leak, way, errno);
  // RFC 1035 section 4.1.1: the low half of the header's fourth octet.
  const std::size_t place = is_tcp ? 5 : 3;
  const bool has_code = static_cast<std::size_t>(size) > place;
  teller.report(leak, Outcome::kConnected,
                has_code ? fmt::format("{}: rcode {}", way, answer[place] & 15) : way + ": closed");
}

}  // namespace

void probe_names(const ProbePlan& plan, const Teller& teller) {
  const auto servers = parse_resolv_conf(read_text_file("/etc/resolv.conf")).servers;
  if (servers.empty()) {
    teller.report(Leak::kDnsNames, Outcome::kRefused, "no resolver inside");
    teller.report(Leak::kDnsReverse, Outcome::kRefused, "no resolver inside");
    return;
  }
  const Endpoint& server = servers.front();
  // Not .invalid: resolvers that answer that themselves would hide that other names leave.
  const std::string name = made_up_label(plan.nonce, Leak::kDnsNames) + ".example.com";
  for (const std::uint16_t type : {kTypeA, kTypeTxt, kTypeAny}) {
    ask(teller, Leak::kDnsNames, server, SOCK_DGRAM, dns_query(name, type, 9));
  }
  ask(teller, Leak::kDnsNames, server, SOCK_STREAM, dns_query(name, kTypeA, 9));
  const std::string reverse = reverse_name(made_up_address(plan.nonce));
  ask(teller, Leak::kDnsReverse, server, SOCK_DGRAM, dns_query(reverse, kTypePtr, 9));
}

void probe_streams(const ProbePlan& plan, const Teller& teller) {
  if (plan.allowed) {
    std::vector<Attempt> attempts;
    attempts.emplace_back(plan, Target{Leak::kHostNetwork, Transport::kTcp, *plan.allowed}, 0);
    run_to_end(attempts);
    teller.notice(ProberNotice::Kind::kAllowed, attempts.front().is_connected(),
                  attempts.front().told());
  }
  std::vector<Target> targets = plan.targets;
  if (network_namespace_inode() == plan.network_namespace && plan.network_namespace != 0) {
    // Its gateway would be the local network's, and that is not asked.
    teller.report(Leak::kGateway, Outcome::kNotTested,
                  "the host's own network has no gateway of its own");
  } else {
    const auto gateways = gateway_targets(plan);
    targets.insert(targets.end(), gateways.begin(), gateways.end());
  }
  dial(plan, teller, targets);
}

void probe_added_address(const ProbePlan& plan, const Teller& teller) {
  if (!plan.added_address) return;
  teller.notice(ProberNotice::Kind::kAddressNow);
  const Target target{Leak::kAddedAddress, Transport::kTcp, *plan.added_address};
  const double end = precise_milliseconds_now() + static_cast<double>(kAddedAddressMilliseconds);
  int attempts = 0;
  for (; precise_milliseconds_now() < end; ++attempts) {
    Attempt attempt(plan, target, 0);
    for (int turn = 0; turn < 20 && !attempt.is_over(); ++turn) {
      pollfd wait = attempt.wait();
      if (::poll(&wait, 1, 5) == 1) attempt.on_ready();
    }
    ::nanosleep(&kAddedAddressPause, nullptr);
  }
  teller.report(Leak::kAddedAddress, Outcome::kSent,
                fmt::format("tcp {}: {} attempts while it was added",
                            plan.added_address->to_string(), attempts));
}

}  // namespace cordon::audit

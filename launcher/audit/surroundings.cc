#include "launcher/audit/surroundings.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "launcher/audit/added_address.h"
#include "launcher/audit/host_view.h"
#include "launcher/audit/prober.h"
#include "launcher/audit/socket_address.h"
#include "launcher/host_watch.h"

namespace cordon::audit {
namespace {

constexpr std::size_t kMostAddresses = 16;
constexpr std::size_t kMostPinged = 8;
constexpr std::size_t kMostWrapped = 4;
// In the range of RFC 6335 that nobody is assigned; nothing is there to be disturbed.
constexpr std::uint16_t kNeighbourPort = 49157;
constexpr std::array<std::uint16_t, 2> kNamePorts{53, 853};
// RFC 5737, RFC 3849: nobody has them, so what is sent there is lost behind the first router.
constexpr std::array<std::string_view, 2> kFarNameServers{"198.51.100.53", "2001:db8::53"};

constexpr std::array<std::string_view, 6> kMetadataAddresses{"169.254.169.254", "169.254.170.2",
                                                             "100.100.100.200", "168.63.129.16",
                                                             "192.0.0.192",     "fd00:ec2::254"};
constexpr std::array<std::string_view, 2> kLinkLocal{"169.254.0.0/16", "fe80::/64"};

std::string random_digits() {
  std::array<std::uint8_t, 8> octets{};
  // Cannot be interrupted, nor fall short, for so few (getrandom(2)).
  (void)::getrandom(octets.data(), octets.size(), 0);
  std::string digits;
  for (const std::uint8_t octet : octets) digits += fmt::format("{:02x}", octet);
  return digits;
}

bool needs_zone(const IpAddress& address) { return address.is_v6() && address.is_link_local(); }

std::uint64_t inode_of(const UniqueFd& fd) {
  struct stat status {};
  return ::fstat(fd.get(), &status) == 0 ? status.st_ino : 0;
}

std::vector<InterfaceAddress> without_twins(std::vector<InterfaceAddress> addresses) {
  std::vector<InterfaceAddress> once;
  for (InterfaceAddress& entry : addresses) {
    const bool is_known =
        std::any_of(once.begin(), once.end(), [&entry](const InterfaceAddress& known) {
          return known.address == entry.address && known.index == entry.index;
        });
    if (!is_known) once.push_back(std::move(entry));
  }
  return once;
}

}  // namespace

Surroundings::Surroundings(std::string nonce)
    : servers_(waiter_, observations_.heard, nonce), secret_(random_digits()) {
  plan_.nonce = std::move(nonce);
}

Result<std::unique_ptr<Surroundings>> Surroundings::open(const std::string& program,
                                                         const SurroundingsOptions& options) {
  CORDON_TRY(auto addresses, read_addresses());
  addresses = without_twins(std::move(addresses));
  // Not make_unique: the constructor is nobody else's.
  std::unique_ptr<Surroundings> made(new Surroundings(random_digits()));
  if (addresses.size() > kMostAddresses) {
    made->remarks_.push_back(fmt::format("of {} addresses of the host the first {} were tried",
                                         addresses.size(), kMostAddresses));
    addresses.resize(kMostAddresses);
  }
  made->plan_.network_namespace = network_namespace_inode();
  made->plan_.allowed = options.allowed;
  made->open_host_servers(addresses);
  made->plan_wrapped_addresses();
  made->open_published_port(addresses);
  made->open_other_transports(addresses);
  made->open_name_servers(addresses);
  made->open_groups();
  made->open_raw_sockets();
  made->open_unix_sockets();
  made->plan_neighbours(addresses);
  CORDON_TRY_STATUS(made->leave_descriptors_open());
  CORDON_TRY_STATUS(made->start_witness(program));
  made->plan_added_address(options.added_address);
  made->open_lo_traffic();
  made->note_what_the_kernel_refuses();
  made->plan_.targets.insert(made->plan_.targets.end(), made->watched_.begin(),
                             made->watched_.end());
  made->watch_ = std::make_unique<OutboundWatch>(made->waiter_, made->observations_.heard,
                                                 made->plan_.nonce, made->watched_, made->unused_);
  if (!made->watch_->sees_packets()) {
    made->remarks_.emplace_back(
        "without CAP_NET_RAW packets were not seen; what left the host was looked for in its "
        "socket tables, where a socket that lives shorter than 15 ms can be missed");
    for (const Leak leak : {Leak::kDnsNames, Leak::kDnsReverse}) {
      made->observations_.unheard[leak] = "needs CAP_NET_RAW: to see the question leave the host";
    }
  }
  return made;
}

Surroundings::~Surroundings() {
  if (has_added_address_) (void)change_address(*plan_.added_address, AddressChange::kRemove);
  if (!control_socket_.empty()) ::unlink(control_socket_.c_str());
  if (!made_folder_.empty()) ::rmdir(made_folder_.c_str());
  if (folder_.empty()) return;
  ::unlink(fmt::format("{}/{}", folder_, plan_.secret_file).c_str());
  ::rmdir(folder_.c_str());
}

void Surroundings::remember_pair(Leak leak, const Endpoint& at) {
  plan_.targets.push_back({leak, Transport::kTcp, at});
  plan_.targets.push_back({leak, Transport::kUdp, at});
}

void Surroundings::open_host_servers(const std::vector<InterfaceAddress>& addresses) {
  for (const InterfaceAddress& entry : addresses) {
    const Leak leak = leak_of_address(entry.address);
    const auto port =
        servers_.open_pair(entry.address, needs_zone(entry.address) ? entry.index : 0);
    if (!port) {
      remarks_.push_back(
          fmt::format("{} was not tried: {}", entry.address.to_string(), port.error().message()));
      continue;
    }
    remember_pair(leak, {entry.address, *port});
    if (entry.address.is_loopback()) {
      plan_.loopback.push_back({entry.address, *port});
      const IpAddress unspecified = entry.address.is_v4() ? IpAddress() : IpAddress::v6({});
      remember_pair(Leak::kUnspecified, {unspecified, *port});
    } else if (plan_.host_addresses.size() < kMostPinged) {
      plan_.host_addresses.push_back(entry.address);
    }
  }
  for (const Leak leak : {Leak::kLoopbackV4, Leak::kLoopbackV6, Leak::kHostAddressV4,
                          Leak::kHostAddressV6, Leak::kHostLinkLocal}) {
    const bool is_there = std::any_of(plan_.targets.begin(), plan_.targets.end(),
                                      [leak](const Target& target) { return target.leak == leak; });
    if (!is_there) observations_.cannot[leak] = "the host has no such address";
  }
  if (plan_.host_addresses.empty()) {
    observations_.cannot[Leak::kEcho] = "the host has no address but loopback";
  }
}

void Surroundings::plan_wrapped_addresses() {
  std::vector<Target> wrapped;
  for (const Target& target : plan_.targets) {
    const bool is_wanted = target.leak == Leak::kLoopbackV4 || target.leak == Leak::kHostAddressV4;
    if (!is_wanted || wrapped.size() >= kMostWrapped * 2 * 5) continue;
    for (const IpAddress& form : wrapped_forms(target.at.address)) {
      wrapped.push_back({Leak::kWrapped, target.transport, {form, target.at.port}});
    }
  }
  plan_.targets.insert(plan_.targets.end(), wrapped.begin(), wrapped.end());
}

void Surroundings::open_published_port(const std::vector<InterfaceAddress>& addresses) {
  const auto v4 = servers_.open_pair(IpAddress(), 0);
  const auto v6 = servers_.open_pair(IpAddress::v6({}), 0);
  if (!v4) observations_.cannot[Leak::kPublishedPort] = v4.error().message();
  for (const InterfaceAddress& entry : addresses) {
    const auto& port = entry.address.is_v4() ? v4 : v6;
    if (port) remember_pair(Leak::kPublishedPort, {entry.address, *port});
  }
  if (!v4) return;
  // A broadcast reaches sockets on the wildcard address, and that is what these are.
  constexpr std::uint16_t kNetBiosNames = 137;
  std::vector<IpAddress> broadcasts{IpAddress::v4(0xffffffff)};
  for (const InterfaceAddress& entry : addresses) {
    if (entry.broadcast) broadcasts.push_back(*entry.broadcast);
  }
  for (const IpAddress& address : broadcasts) {
    plan_.broadcasts.push_back({address, *v4});
    plan_.broadcasts.push_back({address, kNetBiosNames});
  }
  const auto names = servers_.open_one(Transport::kUdp, {IpAddress(), kNetBiosNames}, 0);
  if (!names) {
    observations_.unheard[Leak::kNbns] =
        fmt::format("no listener on port 137: {}", names.error().message());
  }
}

void Surroundings::open_other_transports(const std::vector<InterfaceAddress>& addresses) {
  std::string missing;
  bool has_one = false;
  for (const Transport transport : {Transport::kUdpLite, Transport::kSctp}) {
    Error last;
    bool is_open = false;
    for (const InterfaceAddress& entry : addresses) {
      if (needs_zone(entry.address)) continue;
      const auto port = servers_.open_one(transport, {entry.address, 0}, 0);
      if (!port) {
        last = port.error();
        continue;
      }
      is_open = true;
      plan_.targets.push_back({Leak::kOtherTransports, transport, {entry.address, *port}});
    }
    has_one = has_one || is_open;
    if (!is_open) {
      missing += fmt::format("{} was not tried: {}", transport_word(transport), last.message());
    }
  }
  if (!has_one) observations_.cannot[Leak::kOtherTransports] = "the kernel has neither";
  if (has_one && !missing.empty()) remarks_.push_back(missing);
}

void Surroundings::open_name_servers(const std::vector<InterfaceAddress>& addresses) {
  for (const std::uint16_t port : kNamePorts) {
    const Leak leak = port == kNamePorts[0] ? Leak::kDnsServers : Leak::kDnsEncrypted;
    for (const InterfaceAddress& entry : addresses) {
      if (needs_zone(entry.address) || entry.address.is_loopback()) continue;
      for (const Transport transport : {Transport::kTcp, Transport::kUdp}) {
        const Target target{leak, transport, {entry.address, port}};
        if (servers_.open_one(transport, target.at, 0)) plan_.targets.push_back(target);
      }
    }
    for (const std::string_view far : kFarNameServers) {
      for (const Transport transport : {Transport::kTcp, Transport::kUdp}) {
        watched_.push_back({leak, transport, {*IpAddress::parse(far), port}});
      }
    }
  }
}

void Surroundings::open_groups() {
  struct Group {
    Leak leak;
    std::string_view address;
    std::uint16_t port;
  };
  constexpr std::array kGroups{
      Group{Leak::kMdns, "224.0.0.251", 5353},
      Group{Leak::kMdns, "ff02::fb", 5353},
      Group{Leak::kLlmnr, "224.0.0.252", 5355},
      Group{Leak::kLlmnr, "ff02::1:3", 5355},
      Group{Leak::kSsdp, "239.255.255.250", 1900},
      Group{Leak::kSsdp, "ff02::c", 1900},
      Group{Leak::kWsDiscovery, "239.255.255.250", 3702},
      Group{Leak::kWsDiscovery, "ff02::c", 3702},
  };
  const auto interfaces = outward_interfaces();
  for (const Group& group : kGroups) {
    const auto joined =
        servers_.open_group({*IpAddress::parse(group.address), group.port}, interfaces);
    if (!joined) {
      observations_.unheard[group.leak] =
          fmt::format("no listener for {}: {}", group.address, joined.error().message());
    }
  }
}

void Surroundings::open_raw_sockets() {
  constexpr int kExperimentalProtocol = 253;
  bool hears_raw = true;
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    // Without it the answer to a ping is what tells.
    (void)servers_.open_echo(family);
    hears_raw = servers_.open_raw(family, kExperimentalProtocol).has_value() && hears_raw;
  }
  if (!hears_raw) {
    remarks_.emplace_back(
        "without CAP_NET_RAW packets of an unassigned IP protocol could not be heard");
  }
  if (const auto port = servers_.open_vsock()) plan_.vsock_port = *port;
}

void Surroundings::open_unix_sockets() {
  const std::string abstract = fmt::format("@cordon-audit-{}", plan_.nonce);
  if (const Status opened = servers_.open_unix(abstract); !opened) {
    observations_.cannot[Leak::kAbstractUnix] = opened.error().message();
  }
  plan_.unix_sockets.push_back({Leak::kAbstractUnix, abstract});

  if (const auto folder = control_folder()) {
    if (::mkdir(folder->c_str(), S_IRWXU) == 0) made_folder_ = *folder;
    const std::string path = fmt::format("{}/audit-{}", *folder, plan_.nonce);
    if (const Status opened = servers_.open_unix(path)) {
      control_socket_ = path;
      plan_.unix_sockets.push_back({Leak::kControlSocket, path});
    } else {
      observations_.cannot[Leak::kControlSocket] = opened.error().message();
    }
  } else {
    observations_.cannot[Leak::kControlSocket] = "XDG_RUNTIME_DIR is not set";
  }

  const auto others = answering_sockets();
  for (const Leak leak : {Leak::kDaemonSockets, Leak::kDesktopSockets, Leak::kNameServices}) {
    const bool is_there =
        std::any_of(others.begin(), others.end(),
                    [leak](const KnownSocket& known) { return known.leak == leak; });
    if (!is_there) observations_.cannot[leak] = "none of the known ones answers on this host";
  }
  plan_.unix_sockets.insert(plan_.unix_sockets.end(), others.begin(), others.end());
}

void Surroundings::plan_neighbours(const std::vector<InterfaceAddress>& addresses) {
  constexpr std::uint16_t kHttp = 80;
  const auto watch = [this](Leak leak, const IpAddress& address) {
    for (const Transport transport : {Transport::kTcp, Transport::kUdp}) {
      watched_.push_back({leak, transport, {address, kNeighbourPort}});
    }
  };
  for (const std::string_view text : kMetadataAddresses) {
    const IpAddress address = *IpAddress::parse(text);
    const bool is_own =
        std::any_of(addresses.begin(), addresses.end(),
                    [&address](const InterfaceAddress& entry) { return entry.address == address; });
    if (!is_own) watched_.push_back({Leak::kMetadata, Transport::kTcp, {address, kHttp}});
  }
  std::uint64_t salt = 0;
  (void)::getrandom(&salt, sizeof(salt), 0);
  std::vector<IpAddress> known = read_known_neighbours();
  for (const InterfaceAddress& entry : addresses) known.push_back(entry.address);
  const auto watch_unused = [&](Leak leak, const Prefix& prefix) {
    const auto neighbour = unused_neighbour(prefix, salt, known);
    if (!neighbour) return false;
    watch(leak, *neighbour);
    unused_.push_back(*neighbour);
    return true;
  };
  for (const std::string_view text : kLinkLocal) {
    (void)watch_unused(Leak::kLinkLocal, *Prefix::parse(text));
  }
  bool has_neighbours = false;
  for (const IpAddress& gateway : read_gateways()) {
    if (gateway.is_link_local()) continue;
    has_neighbours = true;
    watch(Leak::kLan, gateway);
  }
  for (const InterfaceAddress& entry : addresses) {
    if (entry.address.is_loopback() || entry.address.is_link_local()) continue;
    has_neighbours = watch_unused(Leak::kLan, entry.prefix) || has_neighbours;
  }
  if (!has_neighbours) observations_.cannot[Leak::kLan] = "the host has no neighbours";
}

Status Surroundings::leave_descriptors_open() {
  if (plan_.loopback.empty()) {
    observations_.cannot[Leak::kInheritedStream] = "the host has no loopback address";
  } else {
    CORDON_TRY(inherited_stream_, servers_.connect_to(plan_.loopback.front()));
    plan_.inherited_stream = inode_of(inherited_stream_);
  }
  const char* const temporary = ::getenv("TMPDIR");  // NOLINT(concurrency-mt-unsafe): one thread
  std::string path =
      fmt::format("{}/cordon-audit-XXXXXX", temporary != nullptr ? temporary : "/tmp");
  if (::mkdtemp(path.data()) == nullptr) return errno_error(fmt::format("make {}", path));
  folder_ = path;
  plan_.secret_file = "secret";
  const std::string file = fmt::format("{}/{}", folder_, plan_.secret_file);
  const UniqueFd secret(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!secret.is_open() || ::write(secret.get(), secret_.data(), secret_.size()) < 0) {
    return errno_error(file);
  }
  inherited_directory_.reset(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!inherited_directory_.is_open()) return errno_error(folder_);
  plan_.inherited_directory = inode_of(inherited_directory_);
  observations_.secrets[Leak::kInheritedDirectory] = secret_;
  return {};
}

Status Surroundings::start_witness(const std::string& program) {
  plan_.witness_name = fmt::format("audit-{}", plan_.nonce.substr(0, 8));
  plan_.witness_descriptor = kWitnessStream;
  // Not the one of the directory: what was read must say where.
  const std::string secret = random_digits();
  CORDON_TRY(Witness witness, Witness::start(program, plan_.witness_name, secret));
  servers_.adopt(witness.take_stream(), "the other end of an outside process's socket");
  observations_.secrets[Leak::kProcessSecrets] = secret;
  witness_.emplace(std::move(witness));
  return {};
}

void Surroundings::plan_added_address(const std::optional<IpAddress>& address) {
  std::string& cannot = observations_.cannot[Leak::kAddedAddress];
  if (!address) {
    cannot = "needs --add-address ADDRESS and CAP_NET_ADMIN: it stands on lo for two seconds";
    return;
  }
  const auto port = servers_.open_one(Transport::kTcp, {*address, 0}, 0, true);
  if (!port) {
    cannot = port.error().message();
    return;
  }
  plan_.added_address = Endpoint{*address, *port};
  cannot = "the prober ended before it";
}

void Surroundings::open_lo_traffic() {
  if (plan_.loopback.empty()) return;
  const Endpoint& server = plan_.loopback.front();
  const SocketAddress address = socket_address(server);
  lo_sender_.reset(::socket(family_of(server.address), SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (lo_sender_.is_open()) (void)::connect(lo_sender_.get(), address.get(), address.size);
}

void Surroundings::note_what_the_kernel_refuses() {
  if (read_text_file("/proc/sys/dev/tty/legacy_tiocsti") == "0\n") {
    observations_.cannot[Leak::kTerminal] =
        "this kernel refuses it to everybody (dev.tty.legacy_tiocsti is 0)";
  }
}

std::vector<int> Surroundings::left_open() const {
  std::vector<int> fds{inherited_directory_.get()};
  if (inherited_stream_.is_open()) fds.push_back(inherited_stream_.get());
  return fds;
}

void Surroundings::turn() {
  constexpr unsigned kMarkEveryTurns = 3;
  watch_->look();
  witness_->look(observations_.heard);
  if (lo_sender_.is_open() && turns_++ % kMarkEveryTurns == 0) {
    const std::string mark = lo_mark(plan_.nonce);
    (void)::send(lo_sender_.get(), mark.data(), mark.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  waiter_.wait(OutboundWatch::kLookEveryMilliseconds);
}

void Surroundings::add_address() {
  if (!plan_.added_address || has_added_address_) return;
  std::string& cannot = observations_.cannot[Leak::kAddedAddress];
  const Status added = change_address(*plan_.added_address, AddressChange::kAdd);
  if (!added) {
    cannot = added.error().message();
    return;
  }
  has_added_address_ = true;
  observations_.cannot.erase(Leak::kAddedAddress);
}

Observations Surroundings::observations(std::string_view typed) && {
  if (typed.find(plan_.nonce) != std::string_view::npos) {
    observations_.heard.add(Leak::kTerminal,
                            {.words = "what was typed inside stood in the terminal's input"});
  }
  return std::move(observations_);
}

}  // namespace cordon::audit

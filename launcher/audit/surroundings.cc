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
#include "launcher/text_file.h"
#include "netstack/base/invariant.h"

namespace cordon::audit {
namespace {

constexpr std::size_t kMostAddresses = 16;

std::string random_digits() {
  std::array<std::uint8_t, 8> octets{};
  // Cannot be interrupted, nor fall short, for so few (getrandom(2)).
  CORDON_INVARIANT(::getrandom(octets.data(), octets.size(), 0) == ssize_t{octets.size()});
  std::string digits;
  for (const std::uint8_t octet : octets) digits += fmt::format("{:02x}", octet);
  return digits;
}

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

Status Surroundings::leave_descriptors_open() {
  if (plan_.loopback.empty()) {
    observations_.cannot[Leak::kInheritedStream] = "the host has no loopback address";
  } else {
    CORDON_TRY(inherited_stream_, Servers::connect_to(plan_.loopback.front()));
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

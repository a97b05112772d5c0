// Descriptors that were left open, unix sockets, the terminal, and powers over the kernel.
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fcntl.h>
#include <limits.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <fmt/format.h>

#include "launcher/audit/host_view.h"
#include "launcher/audit/prober.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon::audit {
namespace {

// The longest that an attempt on a wall may take.
constexpr int kWallMilliseconds = 1000;

std::string what_descriptor_is(int fd) {
  std::array<char, PATH_MAX> target{};
  const ssize_t size =
      ::readlink(fmt::format("/proc/self/fd/{}", fd).c_str(), target.data(), target.size());
  return fmt::format(
      "descriptor {}: {}", fd,
      size > 0 ? std::string(target.data(), static_cast<std::size_t>(size)) : std::string("open"));
}

void use_stream(const ProbePlan& plan, const Teller& teller, int fd) {
  const Leak leak = Leak::kInheritedStream;
  const std::string token = write_token(plan.nonce, {leak, fmt::format("descriptor {}", fd)});
  if (::send(fd, token.data(), token.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
    return teller.refused(leak, fmt::format("descriptor {}", fd), errno);
  }
  teller.report(leak, Outcome::kSent, fmt::format("descriptor {} took it", fd));
}

void use_directory(const ProbePlan& plan, const Teller& teller, int fd) {
  const Leak leak = Leak::kInheritedDirectory;
  const UniqueFd file(::openat(fd, plan.secret_file.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 64> text{};
  const ssize_t size = file.is_open() ? ::read(file.get(), text.data(), text.size()) : -1;
  if (size < 0) return teller.refused(leak, fmt::format("descriptor {}", fd), errno);
  teller.report(leak, Outcome::kObtained, std::string(text.data(), static_cast<std::size_t>(size)));
}

void call_own_server(const ProbePlan& plan, const Teller& teller, const KnownSocket& known) {
  sockaddr_un address{.sun_family = AF_UNIX};
  if (known.path.size() >= sizeof(address.sun_path)) return;
  std::memcpy(address.sun_path, known.path.data(), known.path.size());
  const bool is_abstract = known.path.starts_with('@');
  if (is_abstract) address.sun_path[0] = '\0';
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + known.path.size() +
                                           (is_abstract ? 0 : 1));
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.is_open() ||
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) {
    return teller.refused(known.leak, known.path, errno);
  }
  const std::string token = write_token(plan.nonce, {known.leak, known.path});
  (void)::send(socket.get(), token.data(), token.size(), MSG_NOSIGNAL);
  teller.report(known.leak, Outcome::kConnected, known.path);
}

void type_into_terminal(const ProbePlan& plan, const Teller& teller, unsigned long request,
                        const char* name) {
  const Leak leak = Leak::kTerminal;
  in_child(teller, leak, kWallMilliseconds, [&] {
    const UniqueFd controlling(::open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
    const int fd = controlling.is_open() ? controlling.get() : STDIN_FILENO;
    for (const char& character : plan.nonce) {
      // The C library's ioctl() would do as well; the bits above the 32nd are the point.
      if (::syscall(SYS_ioctl, fd, request, &character) != 0) {
        return teller.refused(leak, name, errno);
      }
    }
    teller.report(leak, Outcome::kSent, fmt::format("{} took it", name));
  });
}

/// What the kernel answers to one request: 0, an errno; negative where none came.
int ask_kernel(int protocol, const void* request, std::size_t size) {
  const UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!socket.is_open()) return errno;
  if (::send(socket.get(), request, size, 0) < 0) return errno;
  alignas(nlmsghdr) std::array<char, 1024> reply;
  // The kernel has answered when send() returns.
  const ssize_t got = ::recv(socket.get(), reply.data(), reply.size(), MSG_DONTWAIT);
  if (got < ssize_t{NLMSG_LENGTH(sizeof(nlmsgerr))}) return got < 0 ? errno : EPROTO;
  nlmsgerr error;
  std::memcpy(&error, reply.data() + NLMSG_HDRLEN, sizeof(error));
  return -error.error;
}

int remove_missing_address() {
  struct {
    nlmsghdr header;
    ifaddrmsg message;
    rtattr attribute;
    in_addr address;
  } request{};
  static_assert(sizeof(request) == 32);
  constexpr std::uint32_t kNobodys = 0x7f7b2d43;  // 127.123.45.67
  request.header = {sizeof(request), RTM_DELADDR, NLM_F_REQUEST | NLM_F_ACK, 1, 0};
  request.message = {AF_INET, 32, 0, RT_SCOPE_HOST, 1};
  request.attribute = {sizeof(rtattr) + sizeof(in_addr), IFA_LOCAL};
  request.address.s_addr = htonl(kNobodys);
  return ask_kernel(NETLINK_ROUTE, &request, sizeof(request));
}

int remove_missing_table() {
  struct Header {
    nlmsghdr netlink;
    nfgenmsg netfilter;
  };
  struct {
    Header begin;
    Header table;
    nlattr name;
    std::array<char, 16> text;
    Header end;
  } batch{};
  static_assert(sizeof(batch) == 80);
  constexpr std::uint8_t kFamilyInet = 1;
  batch.begin.netlink = {sizeof(Header), NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, 1, 0};
  batch.begin.netfilter = {AF_UNSPEC, NFNETLINK_V0, htons(NFNL_SUBSYS_NFTABLES)};
  batch.table.netlink = {sizeof(Header) + sizeof(nlattr) + sizeof(batch.text),
                         (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_DELTABLE, NLM_F_REQUEST | NLM_F_ACK,
                         2, 0};
  batch.table.netfilter = {kFamilyInet, NFNETLINK_V0, 0};
  batch.name = {sizeof(nlattr) + sizeof(batch.text), NFTA_TABLE_NAME};
  batch.text = {'c', 'o', 'r', 'd', 'o', 'n', '-', 'n', 'o', '-', 'o', 'n', 'e', 's'};
  batch.end.netlink = {sizeof(Header), NFNL_MSG_BATCH_END, NLM_F_REQUEST, 3, 0};
  batch.end.netfilter = batch.begin.netfilter;
  return ask_kernel(NETLINK_NETFILTER, &batch, sizeof(batch));
}

void probe_settings(const Teller& teller) {
  for (const char* const path :
       {"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sysrq-trigger"}) {
    const UniqueFd file(::open(path, O_WRONLY | O_CLOEXEC));
    if (file.is_open()) {
      teller.report(Leak::kKernelSettings, Outcome::kObtained,
                    fmt::format("{} opens for writing", path));
    } else {
      teller.refused(Leak::kKernelSettings, path, errno);
    }
  }
}

void probe_new_namespaces(const Teller& teller) {
  const Leak leak = Leak::kNewNamespaces;
  in_child(teller, leak, kWallMilliseconds, [&] {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0) {
      return teller.report(leak, Outcome::kObtained, "unshare(CLONE_NEWUSER | CLONE_NEWNET)");
    }
    teller.refused(leak, "unshare(CLONE_NEWUSER | CLONE_NEWNET)", errno);
    if (::unshare(CLONE_NEWNET) == 0) {
      teller.report(leak, Outcome::kObtained, "unshare(CLONE_NEWNET)");
    }
  });
}

}  // namespace

void probe_descriptors(const ProbePlan& plan, const Teller& teller,
                       const std::vector<int>& inherited) {
  bool has_stream = false;
  bool has_directory = false;
  bool has_other = false;
  for (const int fd : inherited) {
    struct stat status {};
    if (::fstat(fd, &status) != 0) continue;
    if (S_ISSOCK(status.st_mode) && status.st_ino == plan.inherited_stream) {
      has_stream = true;
      use_stream(plan, teller, fd);
    } else if (S_ISDIR(status.st_mode) && status.st_ino == plan.inherited_directory) {
      has_directory = true;
      use_directory(plan, teller, fd);
    } else {
      has_other = true;
      teller.report(Leak::kInheritedOther, Outcome::kObtained, what_descriptor_is(fd));
    }
  }
  const std::string open = fmt::format("{} descriptors above 2 are open", inherited.size());
  if (!has_stream) teller.report(Leak::kInheritedStream, Outcome::kRefused, open);
  if (!has_directory) teller.report(Leak::kInheritedDirectory, Outcome::kRefused, open);
  if (!has_other) teller.report(Leak::kInheritedOther, Outcome::kRefused, open);
}

void probe_unix_sockets(const ProbePlan& plan, const Teller& teller) {
  for (const KnownSocket& known : plan.unix_sockets) {
    if (known.leak == Leak::kAbstractUnix || known.leak == Leak::kControlSocket) {
      call_own_server(plan, teller, known);
      continue;
    }
    const int code = try_unix_socket(known.path);
    if (code != 0) {
      teller.refused(known.leak, known.path, code);
    } else {
      teller.report(known.leak, Outcome::kObtained, fmt::format("connected to {}", known.path));
    }
  }
}

void probe_terminal(const ProbePlan& plan, const Teller& teller) {
  type_into_terminal(plan, teller, TIOCSTI, "TIOCSTI");
  // A filter that compares 64 bits lets it pass; the kernel looks at 32 (CVE-2023-28100).
  type_into_terminal(plan, teller, TIOCSTI | (1UL << 32), "TIOCSTI with bit 32");
}

void probe_kernel(const Teller& teller) {
  in_child(teller, Leak::kNetworkPower, kWallMilliseconds, [&] {
    const int code = remove_missing_address();
    if (code == EADDRNOTAVAIL) {
      return teller.report(Leak::kNetworkPower, Outcome::kObtained, "RTM_DELADDR is permitted");
    }
    teller.refused(Leak::kNetworkPower, "RTM_DELADDR", code);
  });
  in_child(teller, Leak::kFirewallPower, kWallMilliseconds, [&] {
    const int code = remove_missing_table();
    if (code == ENOENT || code == 0) {
      return teller.report(Leak::kFirewallPower, Outcome::kObtained,
                           "NFT_MSG_DELTABLE is permitted");
    }
    teller.refused(Leak::kFirewallPower, "NFT_MSG_DELTABLE", code);
  });
  in_child(teller, Leak::kKernelSettings, kWallMilliseconds, [&] { probe_settings(teller); });
  probe_new_namespaces(teller);
}

}  // namespace cordon::audit

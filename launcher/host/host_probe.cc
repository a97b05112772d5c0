#include "launcher/host/host_probe.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/landlock.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <optional>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "launcher/text_file.h"
#include "netstack/flow/descriptor_share.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon {
namespace {

using Level = Finding::Level;

// TUN_F_USO4 | TUN_F_USO6 of Linux 6.2; older headers do not have the names.
constexpr unsigned kTunUso = 0x20 | 0x40;
// NFPROTO_INET, whose header does not go together with <netinet/in.h>.
constexpr std::uint8_t kFamilyInet = 1;
constexpr int kNotTried = -1;

/// What the child found: 0, an errno, or kNotTried.
struct Trial {
  int namespaces = kNotTried;
  int id_map = kNotTried;
  int tun_open = kNotTried;
  int tap = kNotTried;
  int uso = kNotTried;
  int nf_tables = kNotTried;
  int tcp_repair = kNotTried;
  int transparent = kNotTried;
  int ping = kNotTried;
};

int write_file(const char* path, std::string_view text) {
  const UniqueFd fd(::open(path, O_WRONLY | O_CLOEXEC));
  if (!fd.is_open()) return errno;
  return ::write(fd.get(), text.data(), text.size()) < 0 ? errno : 0;
}

int map_ids(uid_t uid, gid_t gid) {
  if (const int code = write_file("/proc/self/setgroups", "deny"); code != 0) return code;
  if (const int code = write_file("/proc/self/uid_map", fmt::format("0 {} 1", uid)); code != 0) {
    return code;
  }
  return write_file("/proc/self/gid_map", fmt::format("0 {} 1", gid));
}

void try_tap(Trial& trial) {
  const UniqueFd tun(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  trial.tun_open = tun.is_open() ? 0 : errno;
  if (!tun.is_open()) return;
  ifreq request{};
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  trial.tap = ::ioctl(tun.get(), TUNSETIFF, &request) == 0 ? 0 : errno;
  if (trial.tap != 0) return;
  constexpr unsigned kOffloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | kTunUso;
  trial.uso = ::ioctl(tun.get(), TUNSETOFFLOAD, kOffloads) == 0 ? 0 : errno;
}

/// The batch that makes one table of family inet: begin, newtable, end (nfnetlink's only form).
int try_nf_tables() {
  const UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!socket.is_open()) return errno;
  struct Header {
    nlmsghdr netlink;
    nfgenmsg netfilter;
  };
  struct Batch {
    Header begin;
    Header table;
    nlattr name;
    std::array<char, 8> text;
    Header end;
  } batch{};
  static_assert(sizeof(Header) == 20 && sizeof(Batch) == 72);
  batch.begin.netlink = {sizeof(Header), NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, 1, 0};
  batch.begin.netfilter = {AF_UNSPEC, NFNETLINK_V0, htons(NFNL_SUBSYS_NFTABLES)};
  batch.table.netlink = {sizeof(Header) + sizeof(nlattr) + sizeof(batch.text),
                         (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_NEWTABLE,
                         NLM_F_REQUEST | NLM_F_CREATE | NLM_F_ACK, 2, 0};
  batch.table.netfilter = {kFamilyInet, NFNETLINK_V0, 0};
  batch.name = {sizeof(nlattr) + sizeof(batch.text), NFTA_TABLE_NAME};
  batch.text = {'c', 'o', 'r', 'd', 'o', 'n', '?', '\0'};
  batch.end.netlink = {sizeof(Header), NFNL_MSG_BATCH_END, NLM_F_REQUEST, 3, 0};
  batch.end.netfilter = batch.begin.netfilter;
  if (::send(socket.get(), &batch, sizeof(batch), 0) < 0) return errno;
  std::array<char, 1024> reply;
  // The kernel has answered when send() returns.
  const ssize_t size = ::recv(socket.get(), reply.data(), reply.size(), MSG_DONTWAIT);
  if (size < ssize_t{NLMSG_LENGTH(sizeof(nlmsgerr))}) return size < 0 ? errno : EPROTO;
  nlmsgerr error;
  std::memcpy(&error, reply.data() + NLMSG_HDRLEN, sizeof(error));
  return -error.error;
}

int try_socket_option(int type, int protocol, int level, int option) {
  const UniqueFd socket(::socket(AF_INET, type | SOCK_CLOEXEC, protocol));
  if (!socket.is_open()) return errno;
  if (option == 0) return 0;
  const int on = 1;
  return ::setsockopt(socket.get(), level, option, &on, sizeof(on)) == 0 ? 0 : errno;
}

/// The child's life. It shares nothing with a sandbox that runs, and everything is gone with it.
Trial try_everything(uid_t uid, gid_t gid) {
  Trial trial;
  // Asked outside, where the echo requests will leave from.
  trial.ping = try_socket_option(SOCK_DGRAM, IPPROTO_ICMP, 0, 0);
  trial.namespaces = ::unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID |
                               CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP) == 0
                         ? 0
                         : errno;
  if (trial.namespaces != 0) return trial;
  trial.id_map = map_ids(uid, gid);
  if (trial.id_map != 0) return trial;
  try_tap(trial);
  trial.nf_tables = try_nf_tables();
  trial.tcp_repair = try_socket_option(SOCK_STREAM, 0, IPPROTO_TCP, TCP_REPAIR);
  trial.transparent = try_socket_option(SOCK_STREAM, 0, IPPROTO_IP, IP_TRANSPARENT);
  return trial;
}

std::optional<Trial> run_trial() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return std::nullopt;
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  const uid_t uid = ::geteuid();
  const gid_t gid = ::getegid();
  const pid_t child = ::fork();
  if (child < 0) return std::nullopt;
  if (child == 0) {
    const Trial trial = try_everything(uid, gid);
    const bool is_written = ::write(write_end.get(), &trial, sizeof(trial)) == sizeof(trial);
    ::_exit(is_written ? 0 : 1);
  }
  write_end.reset();
  Trial trial;
  const bool is_read = ::read(read_end.get(), &trial, sizeof(trial)) == sizeof(trial);
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (!is_read) return std::nullopt;
  return trial;
}

std::string error_text(int code) {
  const char* const text = strerrordesc_np(code);
  return text != nullptr ? text : fmt::format("errno {}", code);
}

std::string sysctl_value(std::string_view path) {
  std::string value = read_text_file("/proc/sys/" + std::string(path));
  while (!value.empty() && (value.back() == '\n' || value.back() == ' ')) value.pop_back();
  return value;
}

/// Two lines: for now, and for good.
std::vector<std::string> sysctl_remedy(std::string_view name, std::string_view value) {
  return {fmt::format("sudo sysctl -w {}=\"{}\"", name, value),
          fmt::format("to keep it, put '{} = {}' into /etc/sysctl.d/50-cordon.conf", name, value)};
}

Finding user_namespaces(const Trial& trial) {
  Finding finding{.subject = "user namespaces", .words = "can be made"};
  const int code = trial.namespaces != 0 ? trial.namespaces : trial.id_map;
  const bool is_restricted_by_apparmor =
      sysctl_value("kernel/apparmor_restrict_unprivileged_userns") == "1";
  if (code == 0) {
    if (is_restricted_by_apparmor && trial.nf_tables == EPERM) {
      finding.level = Level::kMissing;
      finding.words = "AppArmor takes the privileges away inside them";
      finding.remedy = sysctl_remedy("kernel.apparmor_restrict_unprivileged_userns", "0");
    }
    return finding;
  }
  finding.level = Level::kMissing;
  finding.words = error_text(code);
  if (sysctl_value("kernel/unprivileged_userns_clone") == "0") {
    finding.words += " (kernel.unprivileged_userns_clone is 0)";
    finding.remedy = sysctl_remedy("kernel.unprivileged_userns_clone", "1");
  } else if (sysctl_value("user/max_user_namespaces") == "0" ||
             (code == ENOSPC && trial.namespaces != 0)) {
    finding.words +=
        fmt::format(" (user.max_user_namespaces is {})", sysctl_value("user/max_user_namespaces"));
    finding.remedy = sysctl_remedy("user.max_user_namespaces", "15000");
  } else if (is_restricted_by_apparmor) {
    finding.words += " (AppArmor restricts them)";
    finding.remedy = sysctl_remedy("kernel.apparmor_restrict_unprivileged_userns", "0");
  } else if (code == EINVAL) {
    finding.words += " (the kernel is built without one of the namespaces)";
    finding.remedy = {"use a kernel with CONFIG_USER_NS and CONFIG_NET_NS, as distributions have"};
  } else {
    finding.remedy = {
        "a container's seccomp profile or a security module forbids unshare(CLONE_NEWUSER)",
        "in Docker: --security-opt seccomp=unconfined"};
  }
  return finding;
}

Finding tun_device(const Trial& trial) {
  Finding finding{.subject = "/dev/net/tun", .words = "can be opened, taps can be made"};
  if (trial.tun_open == 0 && trial.tap == 0) return finding;
  if (trial.tun_open == kNotTried) {
    // Without namespaces, the device file alone can still be judged.
    const UniqueFd tun(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
    if (tun.is_open()) return {.subject = finding.subject, .words = "can be opened"};
    finding.words = error_text(errno);
  } else {
    finding.words = error_text(trial.tun_open != 0 ? trial.tun_open : trial.tap);
  }
  finding.level = Level::kMissing;
  const bool is_there = ::access("/dev/net/tun", F_OK) == 0;
  if (!is_there) {
    finding.remedy = {"sudo modprobe tun", "in a container, run it with --device /dev/net/tun"};
  } else if (trial.tun_open == ENODEV || trial.tun_open == ENXIO) {
    finding.remedy = {"sudo modprobe tun"};
  } else {
    finding.remedy = {
        "sudo chmod 0666 /dev/net/tun   (the kernel asks for the privilege again at "
        "each use; this is what distributions ship)"};
  }
  return finding;
}

Finding nf_tables(const Trial& trial) {
  if (trial.nf_tables == 0) return {.subject = "nf_tables", .words = "tables can be made"};
  return {.level = Level::kMissing,
          .subject = "nf_tables",
          .words = error_text(trial.nf_tables),
          .remedy = {"sudo modprobe nf_tables",
                     "to keep it, put 'nf_tables' into /etc/modules-load.d/cordon.conf"}};
}

Finding tcp_repair(const Trial& trial) {
  if (trial.tcp_repair == 0 && trial.transparent == 0) {
    return {.subject = "TCP repair", .words = "connections can be handed to the guest"};
  }
  return {.level = Level::kMissing,
          .subject = "TCP repair",
          .words = error_text(trial.tcp_repair != 0 ? trial.tcp_repair : trial.transparent),
          .remedy = {"use a kernel of 5.8 or newer (TCP_REPAIR in a namespace needs CAP_NET_ADMIN "
                     "there only)"}};
}

Finding ping(const Trial& trial) {
  if (trial.ping == 0) return {.subject = "ping", .words = "this user may ping"};
  return {.level = Level::kNote,
          .subject = "ping",
          .words = fmt::format("not permitted to this user's groups ({}); all else works",
                               error_text(trial.ping)),
          .remedy = sysctl_remedy("net.ipv4.ping_group_range", "0 2147483647")};
}

Finding descriptors() {
  constexpr std::size_t kComfortable = 10000;  // connections
  constexpr rlim_t kLeast = 64;  // what a sandbox has open by itself, and a few connections
  rlimit limit{};
  (void)::getrlimit(RLIMIT_NOFILE, &limit);  // cannot fail with these arguments
  const std::size_t most = tcp_capacity(limit.rlim_max, relays_for_flows(limit.rlim_max)).flows;
  Finding finding{.subject = "descriptors",
                  .words = fmt::format("limit {} (soft {}): {} TCP connections at once",
                                       limit.rlim_max, limit.rlim_cur, most)};
  if (most >= kComfortable) return finding;
  finding.level = limit.rlim_max < kLeast ? Level::kMissing : Level::kNote;
  finding.remedy = {"raise the hard limit: in /etc/security/limits.conf  * hard nofile 524288",
                    "under systemd: LimitNOFILE=524288"};
  return finding;
}

Finding proc_mounted() {
  if (!read_text_file("/proc/self/stat").empty()) return {.subject = "/proc", .words = "mounted"};
  return {.level = Level::kMissing,
          .subject = "/proc",
          .words = "not mounted",
          .remedy = {"sudo mount -t proc proc /proc"}};
}

Finding seccomp() {
  if (!sysctl_value("kernel/seccomp/actions_avail").empty()) {
    return {.subject = "seccomp", .words = "filters are available"};
  }
  return {.level = Level::kMissing,
          .subject = "seccomp",
          .words = "the kernel has no seccomp filters",
          .remedy = {"use a kernel with CONFIG_SECCOMP_FILTER, as distributions have"}};
}

Finding landlock() {
  const long version =
      ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (version > 0) return {.subject = "Landlock", .words = fmt::format("ABI {}", version)};
  return {.level = Level::kNote,
          .subject = "Landlock",
          .words = "not available; the translator has one wall less",
          .remedy = {"add landlock to the lsm= list of the kernel's command line"}};
}

Finding kernel(const std::optional<Trial>& trial) {
  utsname name{};
  (void)::uname(&name);  // cannot fail with a good pointer
  Finding finding{.subject = "kernel", .words = fmt::format("Linux {}", name.release)};
  if (trial && trial->uso != 0 && trial->uso != kNotTried) {
    finding.level = Level::kNote;
    finding.words += "; UDP is not sent in batches (needs 6.2): HTTP/3 and the like are slower";
  }
  return finding;
}

}  // namespace

std::vector<Finding> probe_host() {
  Finding proc = proc_mounted();
  // Nothing else can be tried or explained without it.
  if (proc.level == Level::kMissing) return {kernel(std::nullopt), std::move(proc)};
  const auto trial = run_trial();
  std::vector<Finding> findings{kernel(trial), std::move(proc)};
  const Trial seen = trial.value_or(Trial{.namespaces = EAGAIN});
  findings.push_back(user_namespaces(seen));
  findings.push_back(tun_device(seen));
  // The rest is tried inside the namespaces; without them there is nothing to say about it.
  if (seen.nf_tables != kNotTried) findings.push_back(nf_tables(seen));
  if (seen.tcp_repair != kNotTried) findings.push_back(tcp_repair(seen));
  findings.push_back(seccomp());
  findings.push_back(landlock());
  if (seen.ping != kNotTried) findings.push_back(ping(seen));
  findings.push_back(descriptors());
  return findings;
}

}  // namespace cordon

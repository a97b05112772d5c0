#include "launcher/events/process_lookup.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <ctime>
#include <dirent.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <memory>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "launcher/text_file.h"

namespace cordon {
namespace {

constexpr std::int64_t kBudgetNanoseconds = 20'000'000;
constexpr std::size_t kMaxProcesses = 4096;
constexpr std::size_t kMaxRows = 1024;
// Of the kernel's tcp_states.h: ESTABLISHED, SYN-SENT, FIN-WAIT-1, FIN-WAIT-2 and CLOSE-WAIT. A
// flow that was just opened may be established already; one that meets a limit may be half closed.
constexpr std::uint32_t kConnectionStates = 1U << 1U | 1U << 2U | 1U << 4U | 1U << 5U | 1U << 8U;
constexpr std::uint32_t kEveryState = 0xffffffff;

std::int64_t now_nanoseconds() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

/// ::ffff:a.b.c.d as a.b.c.d: how an IPv6 socket that speaks IPv4 is listed.
IpAddress without_mapping(const IpAddress& address) {
  constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  const Bytes octets = address.octets();
  if (address.is_v4() || !std::equal(kMapped.begin(), kMapped.end(), octets.begin())) {
    return address;
  }
  return IpAddress::from_octets(octets.subspan(kMapped.size()));
}

bool fits(const SocketRow& row, const Request& request) {
  if (row.inode == 0 || row.local.port != request.guest.port) return false;
  const bool is_local_right =
      row.local.address.is_unspecified() || row.local.address == request.guest.address;
  if (!is_local_right) return false;
  // A ping socket's "port" is the identifier, and it is hardly ever connected.
  if (request.protocol == Protocol::kIcmp) return true;
  if (request.protocol == Protocol::kTcp && !row.is_connection) return false;
  if (row.remote.port == 0) return request.protocol == Protocol::kUdp;
  if (row.remote.port != request.dialled.port) return false;
  // The address inside is another one than what the host dials: the host door's, or the pool's.
  const bool is_presented_otherwise = request.is_host_door || request.name != nullptr;
  return is_presented_otherwise || row.remote.address == request.dialled.address;
}

struct DiagRequest {
  nlmsghdr header{};
  inet_diag_req_v2 body{};
};

bool ask(int fd, std::uint8_t family, const Request& request) {
  DiagRequest question;
  question.header.nlmsg_len = sizeof(question);
  question.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  question.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  question.body.sdiag_family = family;
  question.body.sdiag_protocol = request.protocol == Protocol::kTcp ? IPPROTO_TCP : IPPROTO_UDP;
  question.body.idiag_states = request.protocol == Protocol::kTcp ? kConnectionStates : kEveryState;
  question.body.id.idiag_sport = htons(request.guest.port);
  return ::send(fd, &question, sizeof(question), MSG_DONTWAIT | MSG_NOSIGNAL) ==
         ssize_t{sizeof(question)};
}

SocketRow to_row(const inet_diag_msg& message) {
  const std::size_t size = message.idiag_family == AF_INET6 ? 16 : 4;
  std::array<std::uint8_t, 16> source{};
  std::array<std::uint8_t, 16> destination{};
  std::memcpy(source.data(), message.id.idiag_src, size);
  std::memcpy(destination.data(), message.id.idiag_dst, size);
  const auto address = [size](const std::array<std::uint8_t, 16>& octets) {
    return without_mapping(IpAddress::from_octets(Bytes(octets).first(size)));
  };
  return SocketRow{.local = {address(source), ntohs(message.id.idiag_sport)},
                   .remote = {address(destination), ntohs(message.id.idiag_dport)},
                   .is_connection = (kConnectionStates >> message.idiag_state & 1U) != 0,
                   .inode = message.idiag_inode};
}

/// Takes the rows out of one datagram of the dump; false at its end.
bool take_rows(Bytes datagram, std::vector<SocketRow>& rows) {
  while (datagram.size() >= sizeof(nlmsghdr)) {
    nlmsghdr header;
    std::memcpy(&header, datagram.data(), sizeof(header));
    if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > datagram.size()) return false;
    if (header.nlmsg_type == NLMSG_DONE || header.nlmsg_type == NLMSG_ERROR) return false;
    if (header.nlmsg_len >= NLMSG_LENGTH(sizeof(inet_diag_msg)) && rows.size() < kMaxRows) {
      inet_diag_msg message;
      std::memcpy(&message, datagram.data() + NLMSG_HDRLEN, sizeof(message));
      rows.push_back(to_row(message));
    }
    datagram =
        datagram.subspan(std::min<std::size_t>(NLMSG_ALIGN(header.nlmsg_len), datagram.size()));
  }
  return true;
}

void list_family(int fd, std::uint8_t family, const Request& request,
                 std::vector<SocketRow>& rows) {
  if (!ask(fd, family, request)) return;
  std::array<std::uint8_t, 16384> buffer;
  for (;;) {
    const ssize_t size = ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0 || !take_rows(Bytes(buffer).first(static_cast<std::size_t>(size)), rows)) return;
  }
}

template <class Number>
bool read_number(std::string_view text, int base, Number& number) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number, base);
  return error == std::errc{} && stop == end;
}

/// "0100007F:0035" or 32 hexadecimal digits and a port: words of 32 bits in the machine's order.
std::optional<Endpoint> parse_hex_endpoint(std::string_view text) {
  const auto colon = text.find(':');
  if (colon != 8 && colon != 32) return std::nullopt;
  std::array<std::uint8_t, 16> octets{};
  for (std::size_t at = 0; at < colon; at += 8) {
    std::uint32_t word = 0;
    if (!read_number(text.substr(at, 8), 16, word)) return std::nullopt;
    std::memcpy(octets.data() + at / 2, &word, sizeof(word));
  }
  std::uint16_t port = 0;
  if (!read_number(text.substr(colon + 1), 16, port)) return std::nullopt;
  return Endpoint{without_mapping(IpAddress::from_octets(Bytes(octets).first(colon / 2))), port};
}

std::optional<SocketRow> parse_ping_line(std::string_view line) {
  constexpr std::size_t kLocalField = 1;
  constexpr std::size_t kRemoteField = 2;
  constexpr std::size_t kInodeField = 9;
  std::array<std::string_view, kInodeField + 1> fields;
  std::size_t count = 0;
  while (count < fields.size()) {
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    if (line.empty()) return std::nullopt;
    const auto end = std::min(line.find(' '), line.size());
    fields[count++] = line.substr(0, end);
    line.remove_prefix(end);
  }
  const auto local = parse_hex_endpoint(fields[kLocalField]);
  const auto remote = parse_hex_endpoint(fields[kRemoteField]);
  std::uint64_t inode = 0;
  if (!local || !remote || !read_number(fields[kInodeField], 10, inode)) return std::nullopt;
  return SocketRow{.local = *local, .remote = *remote, .inode = inode};
}

struct DirectoryClose {
  void operator()(DIR* directory) const { ::closedir(directory); }
};
using Directory = std::unique_ptr<DIR, DirectoryClose>;

std::optional<pid_t> parse_pid(std::string_view name) {
  pid_t pid = 0;
  if (!read_number(name, 10, pid) || pid <= 0) return std::nullopt;
  return pid;
}

bool holds_socket(pid_t pid, std::uint64_t inode, std::int64_t deadline) {
  const std::string wanted = fmt::format("socket:[{}]", inode);
  const Directory descriptors(::opendir(fmt::format("/proc/{}/fd", pid).c_str()));
  if (!descriptors) return false;
  unsigned looked_at = 0;
  std::array<char, 64> target;
  while (const dirent* const entry = ::readdir(descriptors.get())) {
    if (++looked_at % 64 == 0 && now_nanoseconds() > deadline) return false;
    const ssize_t size =
        ::readlinkat(::dirfd(descriptors.get()), entry->d_name, target.data(), target.size());
    if (size > 0 && std::string_view(target.data(), static_cast<std::size_t>(size)) == wanted) {
      return true;
    }
  }
  return false;
}

std::string program_name(pid_t pid) {
  std::string name = read_text_file(fmt::format("/proc/{}/comm", pid));
  if (name.ends_with('\n')) name.pop_back();
  return name;
}

}  // namespace

std::optional<std::uint64_t> choose_socket(std::span<const SocketRow> rows,
                                           const Request& request) {
  if (request.direction != Direction::kOutbound) return std::nullopt;
  std::optional<std::uint64_t> chosen;
  for (const SocketRow& row : rows) {
    if (!fits(row, request)) continue;
    if (chosen && *chosen != row.inode) return std::nullopt;
    chosen = row.inode;
  }
  return chosen;
}

std::vector<SocketRow> parse_ping_sockets(std::string_view text) {
  std::vector<SocketRow> rows;
  while (!text.empty() && rows.size() < kMaxRows) {
    const auto end = std::min(text.find('\n'), text.size());
    if (const auto row = parse_ping_line(text.substr(0, end))) rows.push_back(*row);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return rows;
}

ProcessLookup::ProcessLookup(int sock_diag, int network_namespace, pid_t guest_init)
    : sock_diag_(sock_diag), guest_init_(guest_init) {
  struct stat status {};
  if (network_namespace >= 0 && ::fstat(network_namespace, &status) == 0) {
    namespace_device_ = status.st_dev;
    namespace_inode_ = status.st_ino;
  }
}

bool ProcessLookup::is_in_guest(pid_t pid) const {
  struct stat status {};
  return ::stat(fmt::format("/proc/{}/ns/net", pid).c_str(), &status) == 0 &&
         status.st_dev == namespace_device_ && status.st_ino == namespace_inode_;
}

void ProcessLookup::list_processes(std::int64_t deadline) {
  const Directory proc(::opendir("/proc"));
  if (!proc) return;
  std::size_t looked_at = 0;
  while (const dirent* const entry = ::readdir(proc.get())) {
    const auto pid = parse_pid(entry->d_name);
    if (!pid || *pid == guest_init_) continue;
    if (++looked_at > kMaxProcesses || now_nanoseconds() > deadline) return;
    const bool is_known = std::find(processes_.begin(), processes_.end(), *pid) != processes_.end();
    if (!is_known && is_in_guest(*pid)) processes_.push_back(*pid);
  }
}

std::vector<SocketRow> ProcessLookup::list_sockets(const Request& request) {
  std::vector<SocketRow> rows;
  if (request.protocol == Protocol::kIcmp) {
    const char* const table = request.guest.address.is_v4() ? "icmp" : "icmp6";
    return parse_ping_sockets(read_text_file(fmt::format("/proc/{}/net/{}", guest_init_, table)));
  }
  if (sock_diag_ < 0) return rows;
  if (request.guest.address.is_v4()) list_family(sock_diag_, AF_INET, request, rows);
  list_family(sock_diag_, AF_INET6, request, rows);
  return rows;
}

std::optional<GuestProcess> ProcessLookup::find(const Request& request) {
  if (namespace_inode_ == 0) return std::nullopt;
  const std::int64_t deadline = now_nanoseconds() + kBudgetNanoseconds;
  const auto inode = choose_socket(list_sockets(request), request);
  if (!inode) return std::nullopt;
  // Those who are gone, or whose number went to somebody else, are forgotten.
  std::erase_if(processes_, [this](pid_t pid) { return !is_in_guest(pid); });
  std::size_t at = 0;
  for (const bool has_scanned : {false, true}) {
    if (has_scanned) list_processes(deadline);
    for (; at < processes_.size(); ++at) {
      if (now_nanoseconds() > deadline) return std::nullopt;
      if (!holds_socket(processes_[at], *inode, deadline)) continue;
      std::rotate(processes_.begin(), processes_.begin() + static_cast<std::ptrdiff_t>(at),
                  processes_.begin() + static_cast<std::ptrdiff_t>(at) + 1);
      return GuestProcess{.pid = processes_[0], .program = program_name(processes_[0])};
    }
  }
  return std::nullopt;
}

}  // namespace cordon

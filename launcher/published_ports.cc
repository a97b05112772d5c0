#include "launcher/published_ports.h"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <net/if.h>
#include <netinet/in.h>
#include <optional>
#include <span>
#include <sys/socket.h>

#include <fmt/format.h>

namespace cordon {
namespace {

constexpr std::string_view kForm =
    "write [ADDRESS:]HOST_PORT:GUEST_PORT[/udp][,from=PREFIX], for example 8080:80";
// As many as the kernel lets wait (net.core.somaxconn cuts it); the translator accepts in bursts.
constexpr int kBacklog = 4096;

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, port);
  if (error != std::errc{} || stop != end || port == 0) return std::nullopt;
  return port;
}

Result<std::uint16_t> require_port(std::string_view text, std::string_view which) {
  if (const auto port = parse_port(text)) return *port;
  return plain_error(fmt::format("'{}' is not a {} port (1 to 65535); {}", text, which, kForm));
}

/// Splits the bind address off the front, and its zone; the rest is HOST:GUEST.
Result<IpAddress> take_address(std::string_view& text, std::string& zone) {
  std::string_view address;
  if (text.starts_with('[')) {
    const auto close = text.find("]:");
    if (close == std::string_view::npos) {
      return plain_error(fmt::format("the bracket is not closed by ']:'; {}", kForm));
    }
    address = text.substr(1, close - 1);
    text.remove_prefix(close + 2);
    const auto percent = address.find('%');
    if (percent != std::string_view::npos) zone = address.substr(percent + 1);
    address = address.substr(0, percent);
    const auto parsed = IpAddress::parse(address);
    if (!parsed || !parsed->is_v6()) {
      return plain_error(fmt::format("'{}' is not an IPv6 address", address));
    }
    if (parsed->is_link_local() != !zone.empty()) {
      return plain_error(
          parsed->is_link_local()
              ? fmt::format("{0} is on which link? write [{0}%INTERFACE]", address)
              : fmt::format("'%{}' says a link, and only fe80::/10 addresses have one", zone));
    }
    return *parsed;
  }
  const auto first = text.find(':');
  const auto second = first == std::string_view::npos ? first : text.find(':', first + 1);
  if (second == std::string_view::npos) return IpAddress::v4(0x7f000001);
  if (text.find(':', second + 1) != std::string_view::npos) {
    return plain_error(
        fmt::format("too many ':'; an IPv6 address stands in brackets: [::1]:8080:80"));
  }
  address = text.substr(0, first);
  text.remove_prefix(first + 1);
  const auto parsed = IpAddress::parse(address);
  if (!parsed) {
    return plain_error(fmt::format("'{}' is not an IP address to bind; {}", address, kForm));
  }
  return *parsed;
}

Result<Prefix> parse_source(std::string_view text, const IpAddress& bind) {
  const auto prefix = Prefix::parse(text);
  if (!prefix) {
    return plain_error(fmt::format(
        "'{}' is no address and no prefix that clients could come from; write from=198.51.100.0/24",
        text));
  }
  if (prefix->address().family() != bind.family()) {
    return plain_error(fmt::format("no client from {} can come to {}: a port has one family", text,
                                   bind.to_string()));
  }
  return *prefix;
}

/// Cuts ",from=PREFIX" and what follows off the end.
std::vector<std::string_view> take_options(std::string_view& text) {
  std::vector<std::string_view> options;
  for (auto comma = text.rfind(','); comma != std::string_view::npos; comma = text.rfind(',')) {
    options.insert(options.begin(), text.substr(comma + 1));
    text = text.substr(0, comma);
  }
  return options;
}

Status read_options(std::span<const std::string_view> options, PublishSpec& spec) {
  constexpr std::string_view kFrom = "from=";
  for (const std::string_view option : options) {
    if (!option.starts_with(kFrom)) {
      return plain_error(fmt::format("'{}' says nothing about a port; {}", option, kForm));
    }
    CORDON_TRY(const Prefix source, parse_source(option.substr(kFrom.size()), spec.bind.address));
    spec.sources.push_back(source);
  }
  return {};
}

Result<Protocol> take_protocol(std::string_view& text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return Protocol::kTcp;
  const std::string_view name = text.substr(slash + 1);
  text = text.substr(0, slash);
  if (name == "tcp") return Protocol::kTcp;
  if (name == "udp") return Protocol::kUdp;
  return plain_error(fmt::format("'{}' is not a protocol that can be published: tcp or udp", name));
}

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

SocketAddress to_socket_address(const Endpoint& endpoint, unsigned zone) {
  SocketAddress result;
  if (endpoint.address.is_v4()) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(endpoint.port);
    v4.sin_addr.s_addr = htonl(endpoint.address.v4_number());
    result.size = sizeof(v4);
    std::memcpy(&result.storage, &v4, sizeof(v4));
  } else {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(endpoint.port);
    v6.sin6_scope_id = zone;
    std::memcpy(&v6.sin6_addr, endpoint.address.octets().data(), sizeof(v6.sin6_addr));
    result.size = sizeof(v6);
    std::memcpy(&result.storage, &v6, sizeof(v6));
  }
  return result;
}

bool set_on(int fd, int level, int name) {
  const int on = 1;
  return ::setsockopt(fd, level, name, &on, sizeof(on)) == 0;
}

/// What every reply needs to know: the address the client wrote to, so that the answer leaves from
/// it.
bool preset(int fd, const PublishSpec& spec) {
  const bool is_v6 = spec.bind.address.is_v6();
  if (is_v6 && !set_on(fd, IPPROTO_IPV6, IPV6_V6ONLY)) return false;
  if (spec.protocol == Protocol::kTcp) return set_on(fd, SOL_SOCKET, SO_REUSEADDR);
  return is_v6 ? set_on(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO) : set_on(fd, IPPROTO_IP, IP_PKTINFO);
}

std::string remedy(int code, const PublishSpec& spec) {
  switch (code) {
    case EADDRINUSE:
      return " (choose another host port, or stop what listens there)";
    case EACCES:
      return fmt::format(
          " (ports below net.ipv4.ip_unprivileged_port_start need root; choose a host port of 1024 "
          "or above, such as {})",
          spec.bind.port < 1024 ? 8000 + spec.bind.port : spec.bind.port);
    case EADDRNOTAVAIL:
      return " (no interface of this host has that address)";
    case ENODEV:
      return fmt::format(" (this host has no interface {})", spec.zone);
    default:
      return {};
  }
}

std::unexpected<Error> publish_error(int code, const PublishSpec& spec, std::string_view step) {
  const char* const text = strerrordesc_np(code);
  return plain_error(fmt::format("--publish {}: {}{}: {}{}", spec.text, step, spec.bind.to_string(),
                                 text != nullptr ? text : "unknown error", remedy(code, spec)));
}

Result<PublishedSocket> bind_one(const PublishSpec& spec) {
  const bool is_tcp = spec.protocol == Protocol::kTcp;
  const int type = (is_tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK;
  UniqueFd fd(::socket(spec.bind.address.is_v6() ? AF_INET6 : AF_INET, type, 0));
  if (!fd.is_open()) return publish_error(errno, spec, "socket for ");
  if (!preset(fd.get(), spec)) return publish_error(errno, spec, "set up ");
  const unsigned zone = spec.zone.empty() ? 0 : ::if_nametoindex(spec.zone.c_str());
  if (zone == 0 && !spec.zone.empty()) return publish_error(errno, spec, "");
  const SocketAddress address = to_socket_address(spec.bind, zone);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.size) != 0) {
    return publish_error(errno, spec, "");
  }
  if (is_tcp && ::listen(fd.get(), kBacklog) != 0) return publish_error(errno, spec, "listen on ");
  return PublishedSocket{.protocol = spec.protocol,
                         .socket = std::move(fd),
                         .bound = spec.bind,
                         .guest_port = spec.guest_port,
                         .sources = spec.sources};
}

}  // namespace

Result<PublishSpec> parse_publish(std::string_view text) {
  PublishSpec spec;
  spec.text = text;
  const std::vector<std::string_view> extras = take_options(text);
  CORDON_TRY(spec.protocol, take_protocol(text));
  CORDON_TRY(spec.bind.address, take_address(text, spec.zone));
  if (spec.bind.address.is_multicast_or_broadcast()) {
    return plain_error("a multicast or broadcast address cannot be published");
  }
  CORDON_TRY_STATUS(read_options(extras, spec));
  const auto colon = text.find(':');
  if (colon == std::string_view::npos) {
    if (parse_port(text)) {
      return plain_error(fmt::format("the guest's port is missing; write {0}:{0}", text));
    }
    return plain_error(std::string(kForm));
  }
  CORDON_TRY(spec.bind.port, require_port(text.substr(0, colon), "host"));
  CORDON_TRY(spec.guest_port, require_port(text.substr(colon + 1), "guest"));
  return spec;
}

Result<std::vector<PublishedSocket>> bind_published(const std::vector<PublishSpec>& specs) {
  std::vector<PublishedSocket> sockets;
  for (const PublishSpec& spec : specs) {
    CORDON_TRY(PublishedSocket socket, bind_one(spec));
    sockets.push_back(std::move(socket));
  }
  return sockets;
}

}  // namespace cordon

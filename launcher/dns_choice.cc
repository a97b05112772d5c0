#include "launcher/dns_choice.h"

#include <charconv>
#include <optional>
#include <string_view>

#include <fmt/format.h>

namespace cordon {
namespace {

/// ADDR, ADDR:PORT, [ADDR6]:PORT; an IPv6 address alone needs no brackets.
std::optional<Endpoint> parse_server(std::string_view text) {
  constexpr std::uint16_t kDnsPort = 53;
  if (const auto address = IpAddress::parse(text)) return Endpoint{*address, kDnsPort};
  std::string_view host = text;
  std::string_view port_text;
  if (text.starts_with('[')) {
    const auto close = text.find(']');
    if (close == std::string_view::npos) return std::nullopt;
    host = text.substr(1, close - 1);
    port_text = text.substr(close + 1);
    if (!port_text.empty() && !port_text.starts_with(':')) return std::nullopt;
    if (!port_text.empty()) port_text.remove_prefix(1);
    if (port_text.empty() && !text.ends_with(']')) return std::nullopt;
  } else {
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos) return std::nullopt;
    host = text.substr(0, colon);
    port_text = text.substr(colon + 1);
    if (port_text.empty()) return std::nullopt;
  }
  const auto address = IpAddress::parse(host);
  if (!address || address->is_v6() != text.starts_with('[')) return std::nullopt;
  if (port_text.empty()) return Endpoint{*address, kDnsPort};
  std::uint16_t port = 0;
  const char* const end = port_text.data() + port_text.size();
  const auto [stop, error] = std::from_chars(port_text.data(), end, port);
  if (error != std::errc{} || stop != end || port == 0) return std::nullopt;
  return Endpoint{*address, port};
}

}  // namespace

Result<DnsChoice> parse_dns_choice(std::span<const std::string> texts) {
  DnsChoice choice;
  for (const std::string& text : texts) {
    if (text == "host" || text == "off") {
      if (texts.size() > 1) {
        return plain_error(fmt::format("{}: cannot be combined with another server", text));
      }
      choice.kind = text == "off" ? DnsChoice::Kind::kOff : DnsChoice::Kind::kHost;
      return choice;
    }
    const auto server = parse_server(text);
    if (!server) {
      return plain_error(
          fmt::format("{}: not a DNS server's address; write an IP address, "
                      "ADDRESS:PORT, [IPV6]:PORT, host or off",
                      text));
    }
    if (server->address.is_unspecified() || server->address.is_multicast_or_broadcast()) {
      return plain_error(fmt::format("{}: that address cannot be a DNS server's", text));
    }
    choice.kind = DnsChoice::Kind::kList;
    choice.servers.push_back(*server);
  }
  return choice;
}

std::vector<std::string> format_dns_choice(const DnsChoice& choice) {
  switch (choice.kind) {
    case DnsChoice::Kind::kHost:
      return {"host"};
    case DnsChoice::Kind::kOff:
      return {"off"};
    case DnsChoice::Kind::kList:
      break;
  }
  std::vector<std::string> texts;
  texts.reserve(choice.servers.size());
  for (const Endpoint& server : choice.servers) texts.push_back(server.to_string());
  return texts;
}

}  // namespace cordon

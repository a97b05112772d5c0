// One pass from left to right: protocol, then what kind of destination, then its port. Each step
// knows where in the text it stands, so that an error points at the character.

#include "netstack/policy/destination.h"

#include <array>
#include <charconv>

#include <fmt/format.h>

#include "netstack/base/text.h"

namespace cordon {
namespace {

// A name of 253 characters with protocol and ports fits.
constexpr std::size_t kLongestText = 300;

// A piece of the text and where it stands in it.
struct Piece {
  std::string_view text;
  std::size_t offset = 0;

  [[nodiscard]] Piece from(std::size_t index) const { return {text.substr(index), offset + index}; }
  [[nodiscard]] Piece first(std::size_t count) const { return {text.substr(0, count), offset}; }
};

// The text is the user's; what cannot be printed is shown as an escape.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char character : text.substr(0, kLongestText)) {
    const auto octet = static_cast<std::uint8_t>(character);
    if (octet < 0x20 || octet >= 0x7f || octet == '"' || octet == '\\') {
      out += fmt::format("\\x{:02x}", octet);
    } else {
      out += character;
    }
  }
  return out + (text.size() > kLongestText ? "...\"" : "\"");
}

std::unexpected<Error> refuse(const Piece& where, std::string_view why) {
  return plain_error(fmt::format("character {}: {}", where.offset + 1, why));
}

bool is_letter(char character) {
  return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z');
}

bool consists_of(std::string_view text, std::string_view characters) {
  return text.find_first_not_of(characters) == std::string_view::npos;
}

// Services that people write where a number belongs.
std::optional<std::uint16_t> port_of_service(std::string_view service) {
  struct Service {
    std::string_view name;
    std::uint16_t port;
  };
  constexpr Service kServices[] = {
      {"http", 80},    {"https", 443},       {"ssh", 22},    {"domain", 53}, {"dns", 53},
      {"ntp", 123},    {"smtp", 25},         {"imaps", 993}, {"ldap", 389},  {"ldaps", 636},
      {"mysql", 3306}, {"postgresql", 5432}, {"redis", 6379}};
  for (const Service& candidate : kServices) {
    if (candidate.name == service) return candidate.port;
  }
  return std::nullopt;
}

Result<std::uint16_t> parse_port(const Piece& piece) {
  if (piece.text.empty()) return refuse(piece, "a port is missing; leave the colon out for all");
  if (const std::optional<std::uint16_t> port = port_of_service(piece.text)) {
    return refuse(piece, fmt::format("a port is a number: write {} for {}", *port, piece.text));
  }
  if (!consists_of(piece.text, "0123456789")) {
    return refuse(piece, fmt::format("{} is not a port: a port is a number from 1 to 65535",
                                     quoted(piece.text)));
  }
  if (piece.text.size() > 1 && piece.text[0] == '0') {
    return refuse(piece, "a port is written without leading zeros");
  }
  std::uint16_t port = 0;
  const char* const end = piece.text.data() + piece.text.size();
  const auto [stop, error] = std::from_chars(piece.text.data(), end, port);
  if (error != std::errc() || stop != end) {
    return refuse(piece, fmt::format("port {} is more than 65535", piece.text));
  }
  if (port == 0) return refuse(piece, "there is no port 0: a port is a number from 1 to 65535");
  return port;
}

// Of a range that lacks an end, "443-" or "-1024", the whole one that was probably meant.
std::optional<std::string> closed_range(std::string_view ports) {
  constexpr std::string_view kDigits = "0123456789";
  const bool is_range = ports.size() > 1 && (ports.front() == '-') != (ports.back() == '-');
  if (!is_range) return std::nullopt;
  const bool has_end = ports.front() == '-';
  if (!consists_of(has_end ? ports.substr(1) : ports.substr(0, ports.size() - 1), kDigits)) {
    return std::nullopt;
  }
  return has_end ? fmt::format("1{}", ports) : fmt::format("{}65535", ports);
}

// Ports as they are to be written where a text that is wrong otherwise is written anew.
std::string suggested_ports(std::string_view ports) {
  return closed_range(ports).value_or(std::string(ports));
}

Result<PortRange> parse_ports(const Piece& piece) {
  if (piece.text == "*") return refuse(piece, "leave \":*\" out: without a port, all are meant");
  if (piece.text.find(',') != std::string_view::npos) {
    return refuse(piece, "one port or one range a rule: write a rule for each");
  }
  const std::size_t dash = piece.text.find('-');
  if (const std::optional<std::string> closed = closed_range(piece.text)) {
    const bool has_end = dash == 0;
    const Piece known = has_end ? piece.from(1) : piece.first(dash);
    CORDON_TRY_STATUS(parse_port(known));
    return refuse(has_end ? piece : piece.from(dash + 1),
                  fmt::format("the range has no {}: write {}, or {} for the one port",
                              has_end ? "beginning" : "end", *closed, known.text));
  }
  CORDON_TRY(const std::uint16_t first, parse_port(piece.first(dash)));
  if (dash == std::string_view::npos) return PortRange{.first = first, .last = first};
  CORDON_TRY(const std::uint16_t last, parse_port(piece.from(dash + 1)));
  if (last < first) {
    return refuse(piece, fmt::format("the range is reversed: write {}-{}", last, first));
  }
  return PortRange{.first = first, .last = last};
}

bool is_protocol(std::string_view word) { return word == "tcp" || word == "udp" || word == "icmp"; }

// Whether `head`, which ends where the first colon or slash of `text` stands, is meant as a name:
// has something that no address has. "dead:443" is one too, "dead::443" is not.
bool is_name(std::string_view head, std::string_view text) {
  if (head.empty()) return false;
  const bool has_several_colons = text.find(':') != text.rfind(':');
  bool has_letter = false;
  bool has_other_than_hex = head.front() == '.';
  for (const char character : head) {
    const bool is_hex = is_digit(character) || (character >= 'a' && character <= 'f') ||
                        (character >= 'A' && character <= 'F');
    has_letter = has_letter || is_letter(character);
    has_other_than_hex = has_other_than_hex || (!is_hex && is_letter(character)) ||
                         character == '_' || character == '*';
  }
  return has_other_than_hex || (has_letter && !has_several_colons);
}

std::string why_no_v6(std::string_view address) {
  if (address.find('%') != std::string_view::npos) {
    return "an address is written without its zone (\"%...\")";
  }
  std::size_t colons = 0;
  for (const char character : address) colons += character == ':' ? 1 : 0;
  const std::size_t last = address.rfind(':');
  const bool has_port =
      !address.substr(last + 1).empty() && consists_of(address.substr(last + 1), "0123456789-");
  if (has_port && colons > 1 && IpAddress::parse(address.substr(0, last))) {
    return fmt::format("an IPv6 address with a port is written in brackets: [{}]:{}",
                       address.substr(0, last), suggested_ports(address.substr(last + 1)));
  }
  return fmt::format("{} is not an IPv6 address", quoted(address));
}

std::string why_no_address(std::string_view address) {
  if (address.empty()) return "an address is missing";
  if (address.find(':') != std::string_view::npos) return why_no_v6(address);
  if (consists_of(address, "0123456789.-") && address.find('-') != std::string_view::npos) {
    return "a range of addresses is written as prefixes, as in 10.1.2.0/24";
  }
  return fmt::format(
      "{} is not an IPv4 address: write four numbers from 0 to 255 without leading "
      "zeros, as in 198.51.100.7",
      quoted(address));
}

Result<Prefix> parse_prefix(const Piece& piece) {
  const std::size_t slash = piece.text.find('/');
  const Piece head = piece.first(slash);
  const std::optional<IpAddress> address = IpAddress::parse(head.text);
  if (!address) return refuse(head, why_no_address(head.text));
  if (slash == std::string_view::npos) return Prefix(*address, address->bits());
  const Piece tail = piece.from(slash + 1);
  unsigned length = 0;
  const char* const end = tail.text.data() + tail.text.size();
  const auto [stop, error] = std::from_chars(tail.text.data(), end, length);
  const bool has_leading_zero = tail.text.size() > 1 && tail.text[0] == '0';
  if (error != std::errc() || stop != end || has_leading_zero || length > address->bits()) {
    return refuse(tail, fmt::format("{} is not a prefix length: write a number from 0 to {}",
                                    quoted(tail.text), address->bits()));
  }
  const Prefix prefix(*address, length);
  if (prefix.address() != *address) {
    return refuse(head, fmt::format("the address has bits beyond /{}: write {} for the network, or "
                                    "{} for the one address",
                                    length, prefix.to_string(), address->to_string()));
  }
  return prefix;
}

// A URL, or an address of mail or git: what of it a rule would have.
std::optional<std::string> destination_in(std::string_view text) {
  const std::size_t scheme = text.find("://");
  if (scheme != std::string_view::npos) {
    std::string_view place = text.substr(scheme + 3);
    place = place.substr(0, place.find_first_of("/?#"));
    const std::size_t user = place.rfind('@');
    if (user != std::string_view::npos) place.remove_prefix(user + 1);
    const bool has_port = place.find(':') != std::string_view::npos;
    const std::string_view head = text.substr(0, scheme);
    const std::string_view port = has_port          ? ""
                                  : head == "http"  ? ":80"
                                  : head == "https" ? ":443"
                                  : head == "ssh"   ? ":22"
                                                    : "";
    return fmt::format("{}{}", place, port);
  }
  const std::size_t user = text.find('@');
  if (user == std::string_view::npos || user == 0) return std::nullopt;
  const std::string_view place = text.substr(user + 1);
  return fmt::format("{}:22", place.substr(0, place.find_first_of(":/")));
}

// Cuts ":PORT" off, if there is one, and reads it.
Result<std::optional<PortRange>> take_ports(const Piece& piece, std::size_t colon) {
  if (colon == std::string_view::npos) return std::optional<PortRange>();
  CORDON_TRY(const PortRange ports, parse_ports(piece.from(colon + 1)));
  return std::optional(ports);
}

void set_ports(Destination& destination, const std::optional<PortRange>& ports) {
  if (!ports) return;
  destination.ports = PortSet(*ports);
  if (!destination.protocol) destination.protocol = Protocol::kTcp;
}

Result<Destination> parse_class_destination(const Piece& piece, Destination destination) {
  const std::size_t colon = piece.text.find(':');
  const Piece name = piece.first(colon).from(1);
  const std::optional<AddressClass> address_class = parse_class(name.text);
  if (!address_class) {
    return refuse(name, fmt::format("there is no class {}: self, metadata, loopback, linklocal, "
                                    "lan, vpn, multicast, reserved and public are the classes",
                                    quoted(name.text)));
  }
  CORDON_TRY(const std::optional<PortRange> ports, take_ports(piece, colon));
  destination.kind = Destination::Kind::kClass;
  destination.address_class = *address_class;
  set_ports(destination, ports);
  return destination;
}

Result<Destination> parse_door(const Piece& piece, Destination destination) {
  if (destination.protocol == Protocol::kIcmp) {
    return refuse(piece, "the host door is for tcp and udp");
  }
  const std::size_t colon = piece.text.find(':');
  if (colon == std::string_view::npos) {
    return refuse(piece, "the host door needs a port, as in host:5432");
  }
  CORDON_TRY(const std::optional<PortRange> ports, take_ports(piece, colon));
  destination.kind = Destination::Kind::kHostDoor;
  set_ports(destination, ports);
  return destination;
}

Result<Destination> parse_bracketed(const Piece& piece, Destination destination) {
  const std::size_t close = piece.text.find(']');
  if (close == std::string_view::npos) return refuse(piece, "the bracket is not closed");
  const Piece inside = piece.first(close).from(1);
  const Piece rest = piece.from(close + 1);
  if (rest.text.starts_with('/')) {
    return refuse(rest, fmt::format("the prefix length stands in the brackets: [{}{}]", inside.text,
                                    rest.text.substr(0, rest.text.find(':'))));
  }
  if (!rest.text.empty() && rest.text[0] != ':') {
    return refuse(rest, "behind the bracket only \":\" and a port may stand");
  }
  if (!inside.text.empty() && inside.text.find(':') == std::string_view::npos) {
    return refuse(inside, "only IPv6 addresses stand in brackets");
  }
  CORDON_TRY(const Prefix prefix, parse_prefix(inside));
  CORDON_TRY(const std::optional<PortRange> ports,
             take_ports(rest, rest.text.empty() ? std::string_view::npos : 0));
  destination.prefix = prefix;
  set_ports(destination, ports);
  return destination;
}

// `colon` is where the port starts, if one stands there.
Result<Destination> parse_name_destination(const Piece& piece, std::size_t colon,
                                           Destination destination) {
  const Piece head = piece.first(colon);
  if (head.text == "*") {
    const bool has_ports = colon != std::string_view::npos;
    return refuse(head,
                  fmt::format("\"*\" is no destination: write @public{}{} for the public "
                              "internet, or name the classes",
                              has_ports ? ":" : piece.text.substr(1),
                              has_ports ? suggested_ports(piece.text.substr(colon + 1)) : ""));
  }
  if (head.text.find(',') != std::string_view::npos) {
    return refuse(head, "one destination a rule: write a rule for each");
  }
  const std::size_t slash = head.text.find('/');
  if (slash != std::string_view::npos && is_protocol(head.text.substr(0, slash))) {
    return refuse(head, "one protocol a rule: write a rule for each");
  }
  if (slash != std::string_view::npos) {
    return refuse(head.from(slash),
                  fmt::format("a name has neither path nor prefix length: write {}",
                              head.text.substr(0, slash)));
  }
  const auto pattern = parse_name_pattern(head.text);
  if (!pattern) return refuse(head.from(pattern.error().offset), pattern.error().why);
  CORDON_TRY(const std::optional<PortRange> ports, take_ports(piece, colon));
  destination.kind = Destination::Kind::kName;
  destination.pattern = *pattern;
  if (ports) {
    set_ports(destination, ports);
  } else if (destination.protocol == Protocol::kUdp) {
    return refuse(piece, fmt::format("udp to a name needs a port, as in udp/{}:123", head.text));
  } else if (destination.protocol != Protocol::kIcmp) {
    destination.ports = PortSet::web();
  }
  return destination;
}

Result<Destination> parse_address_destination(const Piece& piece, Destination destination) {
  if (piece.text.starts_with('[')) return parse_bracketed(piece, destination);
  if (const std::optional<std::string> meant = destination_in(piece.text)) {
    return refuse(piece, fmt::format("a rule names the host and port alone: write {}", *meant));
  }
  if (is_name(piece.text.substr(0, piece.text.find_first_of(":/")), piece.text)) {
    return parse_name_destination(piece, piece.text.find(':'), destination);
  }
  const std::size_t colon = piece.text.find(':');
  const bool has_one_colon = colon != std::string_view::npos && colon == piece.text.rfind(':');
  const bool is_v6 = colon != std::string_view::npos && !has_one_colon;
  const bool is_v6_with_port = is_v6 && piece.text.find('/') < piece.text.rfind(':');
  if (is_v6_with_port) {
    const std::size_t last = piece.text.rfind(':');
    return refuse(piece, fmt::format("an IPv6 prefix with a port is written in brackets: [{}]:{}",
                                     piece.text.substr(0, last),
                                     suggested_ports(piece.text.substr(last + 1))));
  }
  const std::size_t port_colon = has_one_colon ? colon : std::string_view::npos;
  CORDON_TRY(const Prefix prefix, parse_prefix(piece.first(port_colon)));
  CORDON_TRY(const std::optional<PortRange> ports, take_ports(piece, port_colon));
  destination.prefix = prefix;
  set_ports(destination, ports);
  return destination;
}

// The protocol before the first slash, where one stands there.
Result<Piece> take_protocol(const Piece& piece, std::optional<Protocol>& protocol) {
  const std::size_t slash = piece.text.find('/');
  const std::string_view head = piece.text.substr(0, slash);
  const bool has_protocol = slash != std::string_view::npos && !head.empty() &&
                            head.find_first_of(".:[]@*%") == std::string_view::npos &&
                            !is_digit(head[0]);
  if (!has_protocol) return piece;
  for (const Protocol candidate : {Protocol::kTcp, Protocol::kUdp, Protocol::kIcmp}) {
    if (head == protocol_name(candidate)) protocol = candidate;
  }
  if (protocol) return piece.from(slash + 1);
  return refuse(piece, fmt::format("there is no protocol {}: tcp, udp and icmp are the protocols",
                                   quoted(head)));
}

Result<Destination> parse_pieces(const Piece& whole) {
  if (whole.text.empty())
    return refuse(whole, "it is empty: write an address, a prefix or a class");
  for (std::size_t i = 0; i < whole.text.size(); ++i) {
    const auto octet = static_cast<std::uint8_t>(whole.text[i]);
    if (octet >= 0x80) {
      return refuse(whole.from(i),
                    "non-ASCII characters have no place here: an international name "
                    "is written in its xn-- form (RFC 5890)");
    }
    if (octet <= 0x20 || octet == 0x7f) {
      return refuse(whole.from(i), "blanks and control characters have no place here");
    }
  }
  if (whole.text.size() > kLongestText) return refuse(whole.from(kLongestText), "this is too long");
  Destination destination;
  CORDON_TRY(const Piece place, take_protocol(whole, destination.protocol));
  if (place.text.empty()) return refuse(place, "an address or a class is missing");
  const bool is_door = place.text == "host" || place.text.starts_with("host:");
  Result<Destination> result = plain_error("");
  if (place.text[0] == '@') {
    result = parse_class_destination(place, destination);
  } else if (is_door) {
    result = parse_door(place, destination);
  } else {
    result = parse_address_destination(place, destination);
  }
  if (result && result->protocol == Protocol::kIcmp && !result->ports.is_all()) {
    return refuse(whole, "icmp has no ports: leave the port out");
  }
  return result;
}

}  // namespace

Result<Destination> parse_destination(std::string_view text) {
  Result<Destination> result = parse_pieces(Piece{.text = text});
  if (!result) return wrap("destination " + quoted(text), std::move(result).error());
  return result;
}

std::string format_destination(const Destination& destination) {
  const bool is_name = destination.kind == Destination::Kind::kName;
  const bool has_ports = !destination.ports.is_all() && !(is_name && destination.ports.is_web());
  std::string text;
  // A port without a protocol means tcp when it is read back.
  if (destination.protocol && !(has_ports && destination.protocol == Protocol::kTcp)) {
    text = fmt::format("{}/", protocol_name(*destination.protocol));
  }
  switch (destination.kind) {
    case Destination::Kind::kPrefix: {
      const Prefix& prefix = destination.prefix;
      const bool is_one_address = prefix.length() == prefix.address().bits();
      const std::string place = is_one_address ? prefix.address().to_string() : prefix.to_string();
      const bool needs_brackets = prefix.address().is_v6() && has_ports;
      text += needs_brackets ? fmt::format("[{}]", place) : place;
      break;
    }
    case Destination::Kind::kClass:
      text += fmt::format("@{}", class_name(destination.address_class));
      break;
    case Destination::Kind::kHostDoor:
      text += "host";
      break;
    case Destination::Kind::kName:
      text += destination.pattern.to_string();
      break;
  }
  if (!has_ports) return text;
  const PortRange& ports = destination.ports.ranges().front();
  if (ports.first == ports.last) return text + fmt::format(":{}", ports.first);
  return text + fmt::format(":{}-{}", ports.first, ports.last);
}

}  // namespace cordon

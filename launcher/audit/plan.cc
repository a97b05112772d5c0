#include "launcher/audit/plan.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include "launcher/audit/json_text.h"

namespace cordon::audit {
namespace {

constexpr std::string_view kTokenStart = "cordon-audit ";

std::string to_hexadecimal(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string word;
  word.reserve(text.size() * 2);
  for (const char character : text) {
    const auto octet = static_cast<unsigned char>(character);
    word += kDigits[octet >> 4];
    word += kDigits[octet & 15];
  }
  return word;
}

std::optional<std::string> from_hexadecimal(std::string_view word) {
  if (word.size() % 2 != 0) return std::nullopt;
  std::string text;
  for (std::size_t i = 0; i < word.size(); i += 2) {
    unsigned octet = 0;
    const char* const end = word.data() + i + 2;
    const auto [stop, error] = std::from_chars(word.data() + i, end, octet, 16);
    if (error != std::errc{} || stop != end) return std::nullopt;
    text += static_cast<char>(octet);
  }
  return text;
}

Json write_endpoint(const Endpoint& endpoint) {
  return Json::array({endpoint.address.to_string(), endpoint.port});
}

std::optional<Endpoint> read_endpoint(const Json& json) {
  if (!json.is_array() || json.size() != 2 || !json[0].is_string() ||
      !json[1].is_number_unsigned()) {
    return std::nullopt;
  }
  const auto address = IpAddress::parse(json[0].get<std::string>());
  const auto port = json[1].get<std::uint64_t>();
  if (!address || port > 65535) return std::nullopt;
  return Endpoint{*address, static_cast<std::uint16_t>(port)};
}

template <class T, class Write>
Json write_list(const std::vector<T>& values, Write write) {
  Json list = Json::array();
  for (const T& value : values) list.push_back(write(value));
  return list;
}

template <class T, class Read>
bool read_list(const Json& json, std::string_view key, std::vector<T>& into, Read read) {
  const auto list = json.find(key);
  if (list == json.end() || !list->is_array()) return false;
  for (const Json& entry : *list) {
    std::optional<T> value = read(entry);
    if (!value) return false;
    into.push_back(*std::move(value));
  }
  return true;
}

Json write_target(const Target& target) {
  return Json::array(
      {facts_of(target.leak).key, transport_word(target.transport), write_endpoint(target.at)});
}

std::optional<Target> read_target(const Json& json) {
  if (!json.is_array() || json.size() != 3 || !json[0].is_string() || !json[1].is_string()) {
    return std::nullopt;
  }
  const auto leak = parse_leak(json[0].get<std::string>());
  const auto transport = parse_transport(json[1].get<std::string>());
  const auto at = read_endpoint(json[2]);
  if (!leak || !transport || !at) return std::nullopt;
  return Target{*leak, *transport, *at};
}

Json write_socket(const KnownSocket& socket) {
  return Json::array({facts_of(socket.leak).key, socket.path});
}

std::optional<KnownSocket> read_socket(const Json& json) {
  if (!json.is_array() || json.size() != 2 || !json[0].is_string() || !json[1].is_string()) {
    return std::nullopt;
  }
  const auto leak = parse_leak(json[0].get<std::string>());
  if (!leak) return std::nullopt;
  return KnownSocket{*leak, json[1].get<std::string>()};
}

std::optional<IpAddress> read_address(const Json& json) {
  return json.is_string() ? IpAddress::parse(json.get<std::string>()) : std::nullopt;
}

bool read_lists(const Json& json, ProbePlan& plan) {
  return read_list(json, "targets", plan.targets, read_target) &&
         read_list(json, "loopback", plan.loopback, read_endpoint) &&
         read_list(json, "host", plan.host_addresses, read_address) &&
         read_list(json, "broadcasts", plan.broadcasts, read_endpoint) &&
         read_list(json, "unix", plan.unix_sockets, read_socket);
}

template <class T>
bool read_value(const Json& json, std::string_view key, T& into) {
  const auto value = json.find(key);
  if (value == json.end()) return false;
  if constexpr (std::is_same_v<T, std::string>) {
    if (!value->is_string()) return false;
  } else {
    if (!value->is_number_integer()) return false;
  }
  into = value->template get<T>();
  return true;
}

bool read_values(const Json& json, ProbePlan& plan) {
  return read_value(json, "nonce", plan.nonce) &&
         read_value(json, "netns", plan.network_namespace) &&
         read_value(json, "stream", plan.inherited_stream) &&
         read_value(json, "directory", plan.inherited_directory) &&
         read_value(json, "secret_file", plan.secret_file) &&
         read_value(json, "witness", plan.witness_name) &&
         read_value(json, "witness_fd", plan.witness_descriptor) &&
         read_value(json, "vsock", plan.vsock_port);
}

bool read_optional_endpoint(const Json& json, std::string_view key, std::optional<Endpoint>& into) {
  const auto value = json.find(key);
  if (value == json.end()) return true;
  into = read_endpoint(*value);
  return into.has_value();
}

std::optional<Token> find_written_token(std::string_view nonce, std::string_view text) {
  const std::string start = fmt::format("{}{} ", kTokenStart, nonce);
  const auto at = text.find(start);
  if (at == std::string_view::npos) return std::nullopt;
  text.remove_prefix(at + start.size());
  const auto space = text.find(' ');
  const auto end = text.find('\n');
  if (space == std::string_view::npos || end == std::string_view::npos || space > end) {
    return std::nullopt;
  }
  const auto leak = parse_leak(text.substr(0, space));
  if (!leak) return std::nullopt;
  return Token{*leak, std::string(text.substr(space + 1, end - space - 1))};
}

// Label lengths are below the digits in ASCII, so a key ends where its length stands.
std::optional<Token> find_made_up_label(std::string_view nonce, std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char character) {
    return character >= 'A' && character <= 'Z' ? static_cast<char>(character - 'A' + 'a')
                                                : character;
  });
  const auto at = lower.find(fmt::format("-{}", nonce));
  if (at == std::string::npos) return std::nullopt;
  constexpr std::string_view kKeyCharacters = "abcdefghijklmnopqrstuvwxyz0123456789-";
  const auto before = lower.find_last_not_of(kKeyCharacters, at);
  const std::size_t begin = before == std::string::npos ? 0 : before + 1;
  const auto leak = parse_leak(std::string_view(lower).substr(begin, at - begin));
  if (!leak) return std::nullopt;
  return Token{*leak, fmt::format("a query for {}", made_up_label(nonce, *leak))};
}

}  // namespace

std::string_view transport_word(Transport transport) {
  switch (transport) {
    case Transport::kTcp:
      return "tcp";
    case Transport::kUdp:
      return "udp";
    case Transport::kUdpLite:
      return "udplite";
    case Transport::kSctp:
      return "sctp";
  }
  return "";
}

std::optional<Transport> parse_transport(std::string_view word) {
  for (const Transport transport :
       {Transport::kTcp, Transport::kUdp, Transport::kUdpLite, Transport::kSctp}) {
    if (word == transport_word(transport)) return transport;
  }
  return std::nullopt;
}

std::string encode_plan(const ProbePlan& plan) {
  Json json{{"nonce", plan.nonce},
            {"netns", plan.network_namespace},
            {"targets", write_list(plan.targets, write_target)},
            {"loopback", write_list(plan.loopback, write_endpoint)},
            {"host", write_list(plan.host_addresses,
                                [](const IpAddress& address) { return address.to_string(); })},
            {"broadcasts", write_list(plan.broadcasts, write_endpoint)},
            {"unix", write_list(plan.unix_sockets, write_socket)},
            {"stream", plan.inherited_stream},
            {"directory", plan.inherited_directory},
            {"secret_file", plan.secret_file},
            {"witness", plan.witness_name},
            {"witness_fd", plan.witness_descriptor},
            {"vsock", plan.vsock_port}};
  if (plan.added_address) json["added"] = write_endpoint(*plan.added_address);
  if (plan.allowed) json["allowed"] = write_endpoint(*plan.allowed);
  return to_hexadecimal(json.dump(-1, ' ', true, Json::error_handler_t::replace));
}

Result<ProbePlan> decode_plan(std::string_view word) {
  const auto text = from_hexadecimal(word);
  const Json json = text ? Json::parse(*text, nullptr, false) : Json(Json::value_t::discarded);
  ProbePlan plan;
  if (!json.is_object() || !read_values(json, plan) || !read_lists(json, plan) ||
      !read_optional_endpoint(json, "added", plan.added_address) ||
      !read_optional_endpoint(json, "allowed", plan.allowed)) {
    return plain_error("the plan cannot be read; `cordon audit` writes it, nobody else");
  }
  return plan;
}

std::string write_token(std::string_view nonce, const Token& token) {
  return fmt::format("{}{} {} {}\n", kTokenStart, nonce, facts_of(token.leak).key, token.way);
}

std::optional<Token> find_token(std::string_view nonce, std::string_view text) {
  if (auto token = find_written_token(nonce, text)) return token;
  return find_made_up_label(nonce, text);
}

std::string write_answer(std::string_view nonce) { return fmt::format("heard {}\n", nonce); }

std::string made_up_label(std::string_view nonce, Leak leak) {
  return fmt::format("{}-{}", facts_of(leak).key, nonce);
}

IpAddress made_up_address(std::string_view nonce) {
  std::array<std::uint8_t, 16> octets{0x20, 0x01, 0x0d, 0xb8};
  const auto second_half = from_hexadecimal(nonce);
  if (second_half && second_half->size() == 8) {
    std::transform(second_half->begin(), second_half->end(), octets.begin() + 8,
                   [](char character) { return static_cast<std::uint8_t>(character); });
  }
  return IpAddress::v6(octets);
}

std::string reverse_name(const IpAddress& address) {
  std::string name;
  const Bytes octets = address.octets();
  for (std::size_t i = octets.size(); i-- > 0;) {
    name += fmt::format("{:x}.{:x}.", octets[i] & 15, octets[i] >> 4);
  }
  return name + "ip6.arpa";
}

std::string dns_query(std::string_view name, std::uint16_t type, std::uint16_t id) {
  const auto append16 = [](std::string& text, unsigned number) {
    text += static_cast<char>(number >> 8);
    text += static_cast<char>(number & 255);
  };
  constexpr unsigned kRecursionDesired = 0x0100;
  constexpr unsigned kClassIn = 1;
  std::string message;
  for (const unsigned field : {unsigned{id}, kRecursionDesired, 1U, 0U, 0U, 0U}) {
    append16(message, field);
  }
  while (!name.empty()) {
    const std::string_view label = name.substr(0, name.find('.'));
    message += static_cast<char>(label.size());
    message += label;
    name.remove_prefix(std::min(label.size() + 1, name.size()));
  }
  message += '\0';
  append16(message, type);
  append16(message, kClassIn);
  return message;
}

}  // namespace cordon::audit

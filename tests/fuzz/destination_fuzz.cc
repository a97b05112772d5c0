// Destination strings: either an error that says something, or exactly what the text means, never
// more (a malformed rule that became a wildcard is how a sandbox of another maker opened).
#include <cstdlib>
#include <string>

#include "netstack/policy/policy.h"

namespace {

using namespace cordon;

void require(bool claim) {
  if (!claim) std::abort();
}

// Of the text, what must stand in it for the destination to be so wide.
void check_against_text(const Destination& to, std::string_view text) {
  const bool has_slash = text.find('/') != std::string_view::npos;
  const bool names_class = text.find('@') != std::string_view::npos;
  require(names_class == (to.kind == Destination::Kind::kClass));
  const bool is_name = to.kind == Destination::Kind::kName;
  require(is_name || (text.find("host") != std::string_view::npos) ==
                         (to.kind == Destination::Kind::kHostDoor));
  if (to.kind == Destination::Kind::kPrefix) {
    require(has_slash || to.prefix.length() == to.prefix.address().bits());
    require(Prefix(to.prefix.address(), to.prefix.length()) == to.prefix);
  }
  if (to.kind == Destination::Kind::kHostDoor) {
    require(!to.ports.is_all() && to.protocol && *to.protocol != Protocol::kIcmp);
  }
  for (const PortRange& range : to.ports.ranges()) {
    require(range.first <= range.last);
    require(to.ports.is_all() || range.first > 0);
  }
  require(to.ports.is_all() || to.protocol.has_value() || (is_name && to.ports.is_web()));
  require(to.protocol != Protocol::kIcmp || to.ports.is_all());
  for (const char character : text) {
    const bool is_plain =
        (character >= '0' && character <= '9') || (character >= 'a' && character <= 'z') ||
        (character >= 'A' && character <= 'F') ||
        (is_name && character >= 'A' && character <= 'Z') ||
        (is_name && std::string_view("_*").find(character) != std::string_view::npos) ||
        std::string_view("/.:[]@-").find(character) != std::string_view::npos;
    require(is_plain);
  }
}

// The rule alone in a policy grants its names at its ports, to public addresses, and nothing else.
void check_what_a_name_grants(const Destination& to) {
  const Rule rule{.to = to, .action = Action::kAllow};
  const Policy policy(PolicyInput{.default_action = DefaultAction::kDeny, .rules = {rule}});
  const NamePattern& pattern = to.pattern;
  require(!pattern.name.is_root() && pattern.name == pattern.name.lower_case());
  const std::optional<DnsName> below = DnsName::parse("a." + pattern.name.to_string());
  const std::optional<DnsName> beside = DnsName::parse("a" + pattern.name.to_string());
  const RuleReach reach = reach_of(rule);
  const PortRange& last = reach.ports.ranges().back();
  Request request;
  request.protocol = reach.protocol.value_or(Protocol::kTcp);
  request.dialled = {IpAddress::v4({9, 9, 9, 9}), last.last};
  const auto grants = [&](const DnsName* name, AddressClass address_class) {
    request.name = name;
    request.address_class = address_class;
    return policy.evaluate(request).action == Action::kAllow;
  };
  const bool covers_own = pattern.kind != NamePattern::Kind::kSubdomains;
  const bool covers_below = pattern.kind != NamePattern::Kind::kExact;
  require(grants(&pattern.name, AddressClass::kPublic) == covers_own);
  require(pattern.matches(pattern.name) == covers_own);
  require((policy.judge_name(pattern.name).action == Action::kAllow) == covers_own);
  if (below) {
    require(grants(&*below, AddressClass::kPublic) == covers_below);
    require(pattern.matches(*below) == covers_below);
    require((policy.judge_name(*below).action == Action::kAllow) == covers_below);
  }
  if (beside) require(!grants(&*beside, AddressClass::kPublic) && !pattern.matches(*beside));
  require(!grants(nullptr, AddressClass::kPublic));
  for (const DnsName* const name : {&pattern.name, below ? &*below : nullptr}) {
    require(!grants(name, AddressClass::kLan) && !grants(name, AddressClass::kSelf));
  }
  if (reach.ports.is_all() || last.last == 65535) return;
  request.dialled.port = static_cast<std::uint16_t>(last.last + 1);
  require(!grants(&pattern.name, AddressClass::kPublic));
}

// The same for addresses and its prefix.
void check_what_it_grants(const Destination& to) {
  if (to.kind == Destination::Kind::kName) return check_what_a_name_grants(to);
  if (to.kind != Destination::Kind::kPrefix || to.prefix.length() == 0) return;
  const Policy policy(PolicyInput{.default_action = DefaultAction::kDeny,
                                  .rules = {Rule{.to = to, .action = Action::kAllow}}});
  Request request;
  request.protocol = to.protocol.value_or(Protocol::kTcp);
  const PortRange& ports = to.ports.ranges().front();
  request.dialled = {to.prefix.address(), ports.first};
  request.address_class = AddressClass::kReserved;
  const bool is_never_granted =
      to.prefix.address().is_unspecified() ||
      (to.prefix.address().is_v4() && to.prefix.address().octets()[0] == 0);
  const bool is_granted = policy.evaluate(request).action == Action::kAllow;
  require(is_granted != is_never_granted);
  // The neighbouring prefix: the last bit of the network turned.
  const Bytes given = to.prefix.address().octets();
  std::string octets(given.begin(), given.end());
  const unsigned bit = to.prefix.length() - 1;
  octets[bit / 8] = static_cast<char>(static_cast<unsigned char>(octets[bit / 8]) ^
                                      static_cast<unsigned char>(0x80U >> (bit % 8)));
  request.dialled.address =
      IpAddress::from_octets({reinterpret_cast<const std::uint8_t*>(octets.data()), octets.size()});
  require(policy.evaluate(request).action == Action::kDeny);
  if (to.ports.is_all() || ports.last == 65535) return;
  request.dialled = {to.prefix.address(), static_cast<std::uint16_t>(ports.last + 1)};
  require(policy.evaluate(request).action == Action::kDeny);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Result<Destination> parsed = parse_destination(text);
  if (!parsed) {
    const std::string message = parsed.error().message();
    require(message.starts_with("destination \"") && message.size() > 20);
    require(message.size() < 4096);
    for (const char character : message) require(character >= ' ' && character < 0x7f);
    return 0;
  }
  check_against_text(*parsed, text);
  check_what_it_grants(*parsed);
  const std::string canonical = format_destination(*parsed);
  const Result<Destination> again = parse_destination(canonical);
  require(again && *again == *parsed);
  require(format_destination(*again) == canonical);
  return 0;
}

#include "netstack/host/policy_snapshot.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace cordon {
namespace {

constexpr std::uint32_t kMagic = 0x70636f31;
constexpr std::size_t kLongestText = 4096;
constexpr std::size_t kMaxRules = 1'000'000;
// Of one without texts: their lengths, the numbers and the marks.
constexpr std::size_t kShortestRule = 52;
constexpr std::size_t kMaxOverrides = 65'536;
constexpr std::size_t kMaxDnsTypes = 256;

class Writer {
 public:
  template <class Number>
  void number(Number value) {
    static_assert(std::is_integral_v<Number>);
    std::array<std::uint8_t, sizeof(value)> octets{};
    std::memcpy(octets.data(), &value, sizeof(value));
    out_.insert(out_.end(), octets.begin(), octets.end());
  }
  template <class Enum>
  void enumerator(Enum value) {
    number(static_cast<std::uint8_t>(value));
  }
  void text(std::string_view value) {
    const std::string_view cut = value.substr(0, kLongestText);
    number(static_cast<std::uint16_t>(cut.size()));
    out_.insert(out_.end(), cut.begin(), cut.end());
  }
  void endpoint(const WireEndpoint& value) {
    out_.insert(out_.end(), value.octets.begin(), value.octets.end());
    number(value.is_v6);
  }
  void prefix(const Prefix& value) {
    endpoint(encode_endpoint({value.address(), 0}));
    number(static_cast<std::uint8_t>(value.length()));
  }
  [[nodiscard]] std::vector<std::uint8_t> take() { return std::move(out_); }

 private:
  std::vector<std::uint8_t> out_;
};

// After a failure everything reads as zero; is_good() is asked at the end and before loops.
class Reader {
 public:
  explicit Reader(Bytes octets) : left_(octets) {}

  [[nodiscard]] bool is_good() const { return is_good_; }
  [[nodiscard]] bool is_at_end() const { return is_good_ && left_.empty(); }

  template <class Number>
  Number number() {
    Number value{};
    const Bytes octets = bytes(sizeof(value));
    if (is_good_) std::memcpy(&value, octets.data(), sizeof(value));
    return value;
  }
  template <class Enum>
  Enum enumerator(Enum last) {
    const auto value = number<std::uint8_t>();
    if (value > static_cast<std::uint8_t>(last)) is_good_ = false;
    return is_good_ ? static_cast<Enum>(value) : Enum{};
  }
  bool truth() { return enumerator(std::uint8_t{1}) == 1; }
  std::string text() {
    const auto size = number<std::uint16_t>();
    if (size > kLongestText) is_good_ = false;
    const Bytes octets = bytes(size);
    return {octets.begin(), octets.end()};
  }
  std::size_t count(std::size_t most) {
    const auto value = number<std::uint32_t>();
    // Each element takes an octet at least: no count makes us reserve more than has come.
    if (value > most || value > left_.size()) is_good_ = false;
    return is_good_ ? value : 0;
  }
  Prefix prefix() {
    WireEndpoint wire;
    const Bytes octets = bytes(wire.octets.size());
    if (is_good_) std::ranges::copy(octets, wire.octets.begin());
    wire.is_v6 = truth() ? 1 : 0;
    const IpAddress address = decode_endpoint(wire).address;
    const auto length = number<std::uint8_t>();
    if (length > address.bits()) is_good_ = false;
    const Prefix prefix = is_good_ ? Prefix(address, length) : Prefix();
    if (prefix.address() != address) is_good_ = false;
    return prefix;
  }
  void fail() { is_good_ = false; }

 private:
  Bytes bytes(std::size_t size) {
    if (!is_good_ || size > left_.size()) {
      is_good_ = false;
      return {};
    }
    const Bytes taken = left_.first(size);
    left_ = left_.subspan(size);
    return taken;
  }

  Bytes left_;
  bool is_good_ = true;
};

void put_limits(Writer& out, const RuleLimits& limits) {
  out.number(limits.up_bytes);
  out.number(limits.down_bytes);
  out.number(limits.bytes_per_second);
  out.number(limits.flows);
  out.number(limits.until_seconds);
}

RuleLimits take_limits(Reader& in) {
  RuleLimits limits;
  limits.up_bytes = in.number<std::uint64_t>();
  limits.down_bytes = in.number<std::uint64_t>();
  limits.bytes_per_second = in.number<std::uint64_t>();
  limits.flows = in.number<std::uint32_t>();
  limits.until_seconds = in.number<std::uint32_t>();
  return limits;
}

void put_rule(Writer& out, const Rule& rule) {
  out.text(format_destination(rule.to));
  out.enumerator(rule.action);
  out.text(rule.text);
  out.text(rule.origin);
  out.text(rule.label);
  out.number(rule.entry);
  put_limits(out, rule.limits);
  out.enumerator(rule.may_be_private);
  out.enumerator(rule.needs_tls);
  out.number(static_cast<std::uint32_t>(rule.dns_types.size()));
  for (const std::uint16_t type : rule.dns_types) out.number(type);
}

Rule take_rule(Reader& in) {
  Rule rule;
  const Result<Destination> to = parse_destination(in.text());
  if (to) {
    rule.to = *to;
  } else {
    in.fail();
  }
  rule.action = in.enumerator(Action::kAsk);
  rule.text = in.text();
  rule.origin = in.text();
  rule.label = in.text();
  rule.entry = in.number<std::uint32_t>();
  rule.limits = take_limits(in);
  rule.may_be_private = in.truth();
  rule.needs_tls = in.truth();
  const std::size_t types = in.count(kMaxDnsTypes);
  for (std::size_t i = 0; i < types && in.is_good(); ++i) {
    rule.dns_types.push_back(in.number<std::uint16_t>());
  }
  return rule;
}

void put_names(Writer& out, const NameSettings& names) {
  out.enumerator(names.mode);
  out.prefix(names.pool_v4);
  out.prefix(names.pool_v6);
  out.number(names.wildcard_names_per_minute);
  out.enumerator(names.sni);
  out.enumerator(names.ech);
  out.enumerator(names.quic);
}

NameSettings take_names(Reader& in) {
  NameSettings names;
  names.mode = in.enumerator(NameSettings::Mode::kOff);
  names.pool_v4 = in.prefix();
  names.pool_v6 = in.prefix();
  names.wildcard_names_per_minute = in.number<std::uint32_t>();
  names.sni = in.enumerator(NameSettings::Sni::kIgnore);
  names.ech = in.enumerator(NameSettings::Ech::kIgnore);
  names.quic = in.enumerator(NameSettings::Quic::kByName);
  return names;
}

ClassOverride take_override(Reader& in) {
  ClassOverride moved;
  moved.prefix = in.prefix();
  moved.address_class = in.enumerator(AddressClass::kPublic);
  if (in.is_good() && refuse_override(moved)) in.fail();
  return moved;
}

}  // namespace

std::vector<std::uint8_t> encode_snapshot(const PolicySnapshot& snapshot) {
  Writer out;
  out.number(kMagic);
  const PolicyInput& policy = snapshot.policy;
  out.enumerator(policy.default_action);
  out.enumerator(policy.mode);
  out.enumerator(policy.is_quic_by_name);
  put_limits(out, policy.limits);
  put_names(out, snapshot.names);
  out.number(static_cast<std::uint32_t>(policy.overrides.size()));
  for (const ClassOverride& moved : policy.overrides) {
    out.prefix(moved.prefix);
    out.enumerator(moved.address_class);
  }
  out.number(static_cast<std::uint32_t>(policy.rules.size()));
  for (const Rule& rule : policy.rules) put_rule(out, rule);
  return out.take();
}

struct SnapshotReader::Reading {
  explicit Reading(std::vector<std::uint8_t> all) : octets(std::move(all)), in(octets) {
    if (in.number<std::uint32_t>() != kMagic) in.fail();
    PolicyInput& policy = snapshot.policy;
    policy.default_action = in.enumerator(DefaultAction::kAsk);
    policy.mode = in.enumerator(PolicyMode::kAsk);
    policy.is_quic_by_name = in.truth();
    policy.limits = take_limits(in);
    snapshot.names = take_names(in);
    const std::size_t overrides = in.count(kMaxOverrides);
    for (std::size_t i = 0; i < overrides && in.is_good(); ++i) {
      policy.overrides.push_back(take_override(in));
    }
    rules_left = in.count(kMaxRules);
    // No more than can really have come.
    policy.rules.reserve(std::min(rules_left, octets.size() / kShortestRule));
  }

  std::vector<std::uint8_t> octets;
  Reader in;
  PolicySnapshot snapshot;
  std::size_t rules_left = 0;
};

SnapshotReader::SnapshotReader(std::vector<std::uint8_t> octets)
    : reading_(std::make_unique<Reading>(std::move(octets))) {}
SnapshotReader::~SnapshotReader() = default;
SnapshotReader::SnapshotReader(SnapshotReader&&) noexcept = default;
SnapshotReader& SnapshotReader::operator=(SnapshotReader&&) noexcept = default;

SnapshotReader::State SnapshotReader::step(std::size_t most) {
  Reading& now = *reading_;
  for (; most > 0 && now.rules_left > 0 && now.in.is_good(); --most, --now.rules_left) {
    now.snapshot.policy.rules.push_back(take_rule(now.in));
  }
  if (!now.in.is_good()) return State::kBroken;
  if (now.rules_left > 0) return State::kReading;
  return now.in.is_at_end() ? State::kDone : State::kBroken;
}

PolicySnapshot SnapshotReader::take() { return std::move(reading_->snapshot); }

std::optional<PolicySnapshot> decode_snapshot(Bytes octets) {
  SnapshotReader reader({octets.begin(), octets.end()});
  if (reader.step(kMaxRules) != SnapshotReader::State::kDone) return std::nullopt;
  return reader.take();
}

SnapshotAssembly::State SnapshotAssembly::add(const Message& header, Bytes part) {
  if (header.cursor == 0) {
    octets_.clear();
    generation_ = header.generation;
  }
  const bool follows = header.cursor == octets_.size() && header.generation == generation_;
  const bool fits = header.total <= kMaxSnapshotOctets && !part.empty() &&
                    part.size() <= header.total - std::min(header.total, header.cursor);
  if (!follows || !fits) {
    octets_ = {};
    // No part follows this.
    generation_ = header.generation + 1;
    return State::kBroken;
  }
  octets_.insert(octets_.end(), part.begin(), part.end());
  return octets_.size() == header.total ? State::kComplete : State::kIncomplete;
}

std::vector<std::uint8_t> SnapshotAssembly::take() { return std::exchange(octets_, {}); }

}  // namespace cordon

// The rules, arranged so that one request meets only those that can match it.
//
// Address rules become one sorted list of boundaries a family: from a boundary to the next, the
// same set of prefixes holds every address, named by its innermost node; a node knows the node
// around it. One binary search and a walk outwards (as many steps as rules nest, mostly one or two)
// visits every prefix that holds an address. Class rules and the host door are one node each.
//
// A node answers for a lane and a port: a lane is one purpose (allow, deny, deny inbound) of one
// protocol, and its ports are cut into segments, each naming the first rule that covers it. So the
// cost does not grow with the number of rules on one prefix either. Nothing allocates after the
// constructor.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "netstack/address/classes.h"
#include "netstack/address/ip_address.h"
#include "netstack/policy/name_pattern.h"
#include "netstack/policy/request.h"

namespace cordon {

struct PolicyInput;
struct Rule;

/// What a rule is asked for. An inbound flow's rules are those without a port: the client's own
/// port says nothing. The private ones are name rules that reach lan and vpn addresses too.
enum class Purpose : std::uint8_t {
  kAllow,
  kDeny,
  kDenyInbound,
  kAsk,
  kAllowPrivate,
  kAskPrivate,
};

/// The first rule that matches, or none.
using Match = std::optional<std::uint32_t>;

/// One question to the index: which rule covers this.
struct RuleQuery {
  Purpose purpose = Purpose::kAllow;
  Protocol protocol = Protocol::kTcp;
  std::uint16_t port = 0;  // of no meaning for icmp and inbound

  /// Only rules for the one address, no wider prefix.
  bool is_exact_only = false;
};

class RuleIndex {
 public:
  RuleIndex() = default;
  explicit RuleIndex(const PolicyInput& input);

  /// The first rule (in the order given) with a prefix that holds `address`.
  [[nodiscard]] std::optional<std::uint32_t> find_prefix(const IpAddress& address,
                                                         const RuleQuery& query) const;
  /// The first rule that names the class.
  [[nodiscard]] std::optional<std::uint32_t> find_class(AddressClass address_class,
                                                        const RuleQuery& query) const;
  /// The first rule for the host door.
  [[nodiscard]] std::optional<std::uint32_t> find_door(const RuleQuery& query) const;
  /// The first rule with a pattern that matches `name`.
  [[nodiscard]] std::optional<std::uint32_t> find_name(const DnsName& name,
                                                       const RuleQuery& query) const;
  /// The first rule with a prefix, whichever it is.
  [[nodiscard]] std::optional<std::uint32_t> find_any_prefix(const RuleQuery& query) const;

  /// Where the rules for `name` and for classes may change what they say: calls
  /// visit(Protocol, port) for each such place, every protocol's first port among them, until
  /// it says true.
  template <class Visit>
  void visit_changes(const DnsName& name, Visit visit) const;

  [[nodiscard]] bool has_names() const { return !names_.empty(); }
  [[nodiscard]] bool is_dns_type_listed(const DnsName& name, std::uint16_t type) const;

 private:
  static constexpr std::uint32_t kNone = UINT32_MAX;
  static constexpr std::uint32_t kProtocolCount = 3;
  static constexpr std::size_t kClasses = static_cast<std::size_t>(AddressClass::kPublic) + 1;

  // An address as a number; IPv4 fills the upper 32 bits.
  struct Key {
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    friend constexpr bool operator==(const Key&, const Key&) = default;
    friend constexpr bool operator<(const Key& one, const Key& other) {
      return one.high != other.high ? one.high < other.high : one.low < other.low;
    }
  };
  // From `key` (lane and port) on, up to the next segment of the node, `rule` is the first that
  // covers.
  struct Segment {
    std::uint32_t key = 0;
    std::uint32_t rule = kNone;
  };
  struct Node {
    std::uint32_t around = kNone;  // the node of the next shorter prefix
    std::uint32_t first_segment = 0;
    std::uint32_t segment_count = 0;
    std::uint8_t length = 0;
  };
  struct NameNode {
    NamePattern pattern;
    std::vector<std::uint16_t> dns_types;
    Node node;
  };
  struct Boundary {
    Key key;
    std::uint32_t node = kNone;  // innermost from here on
  };
  struct Interval {
    std::uint32_t first = 0;
    std::uint32_t last = 0;
    std::uint32_t rule = kNone;
  };
  struct PrefixRule {
    Key key;
    std::uint8_t length = 0;
    std::uint32_t rule = kNone;
  };

  static Key key_of(const IpAddress& address);
  static std::optional<Key> key_behind(const Key& key, unsigned length);
  template <class Visit>
  bool visit_node(const Node& node, Visit& visit) const;
  static std::uint32_t lane_key(Purpose purpose, Protocol protocol, std::uint16_t port);
  void add_intervals(const Rule& rule, std::uint32_t index, std::vector<Interval>& out) const;

  void build_family(std::span<const Rule> rules, Family family);
  void put_boundary(Family family, const Key& key, std::uint32_t node);
  [[nodiscard]] Node make_node(std::vector<Interval>& intervals);
  [[nodiscard]] std::uint32_t first_rule(const Node& node, std::uint32_t key) const;

  std::array<std::vector<Boundary>, 2> boundaries_;
  std::vector<Node> nodes_;
  std::vector<Segment> segments_;
  std::array<Node, kClasses> class_nodes_{};
  Node door_node_;
  Node prefixes_node_;  // all prefix rules together
  std::vector<NameNode> names_;
  bool is_quic_by_name_ = false;
};

template <class Visit>
bool RuleIndex::visit_node(const Node& node, Visit& visit) const {
  for (std::uint32_t i = 0; i < node.segment_count; ++i) {
    const std::uint32_t key = segments_[node.first_segment + i].key;
    const auto protocol = static_cast<Protocol>((key >> 16) % kProtocolCount);
    if (visit(protocol, static_cast<std::uint16_t>(key))) return true;
  }
  return false;
}

template <class Visit>
void RuleIndex::visit_changes(const DnsName& name, Visit visit) const {
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kIcmp}) {
    if (visit(protocol, std::uint16_t{1})) return;
  }
  for (const NameNode& candidate : names_) {
    if (candidate.pattern.matches(name) && visit_node(candidate.node, visit)) return;
  }
  for (const Node& node : class_nodes_) {
    if (visit_node(node, visit)) return;
  }
}

}  // namespace cordon

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
#include "netstack/policy/request.h"

namespace cordon {

struct Rule;

/// What a rule is asked for. An inbound flow's rules are those without a port: the client's own
/// port says nothing.
enum class Purpose : std::uint8_t { kAllow, kDeny, kDenyInbound };

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
  explicit RuleIndex(std::span<const Rule> rules);

  /// The first rule (in the order given) with a prefix that holds `address`.
  [[nodiscard]] std::optional<std::uint32_t> find_prefix(const IpAddress& address,
                                                         const RuleQuery& query) const;
  /// The first rule that names the class.
  [[nodiscard]] std::optional<std::uint32_t> find_class(AddressClass address_class,
                                                        const RuleQuery& query) const;
  /// The first rule for the host door.
  [[nodiscard]] std::optional<std::uint32_t> find_door(const RuleQuery& query) const;

 private:
  static constexpr std::uint32_t kNone = UINT32_MAX;
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
  static std::uint32_t lane_key(Purpose purpose, Protocol protocol, std::uint16_t port);
  static void add_intervals(const Rule& rule, std::uint32_t index, std::vector<Interval>& out);

  void build_family(std::span<const Rule> rules, Family family);
  void put_boundary(Family family, const Key& key, std::uint32_t node);
  [[nodiscard]] Node make_node(std::vector<Interval>& intervals);
  [[nodiscard]] std::uint32_t first_rule(const Node& node, std::uint32_t key) const;

  std::array<std::vector<Boundary>, 2> boundaries_;
  std::vector<Node> nodes_;
  std::vector<Segment> segments_;
  std::array<Node, kClasses> class_nodes_{};
  Node door_node_;
};

}  // namespace cordon

// What the rules at one place say: a place is a prefix, a name, a class or the host door, and
// several rules may stand there.
//
// A place answers for a lane and a port: a lane is one purpose (allow, deny, ask ...) of one
// protocol, and its ports are cut into segments, each naming the rule that decides there. So the
// cost of a question does not grow with the number of rules at one place. The segments of all
// places lie in one array. At most places one rule stands alone, and a hundred thousand of those
// have but a few shapes: these share their segments and keep the rule beside them, so that a
// question at a cold place waits for memory once less.
//
// Of several rules that match, one decides: a rule with limits or demands goes before one without,
// so that `allow *.example` does not undo the budget of a rule for api.example; then the order
// counts in which they were given. Which one it is changes no verdict, only its words and limits.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "netstack/policy/request.h"
#include "netstack/policy/rule.h"

namespace cordon {

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
inline constexpr std::size_t kPurposes = 6;

/// One question: which rule covers this.
struct RuleQuery {
  Purpose purpose = Purpose::kAllow;
  Protocol protocol = Protocol::kTcp;
  std::uint16_t port = 0;  // of no meaning for icmp and inbound
};

/// The rule that decides among those that match, or none.
class Match {
 public:
  constexpr Match() = default;
  Match(const Rule& rule, std::uint32_t index)
      : rank_(index | (rule.limits.is_none() && !rule.needs_tls ? kUndemanding : 0)) {}

  [[nodiscard]] constexpr explicit operator bool() const { return rank_ != kNone; }
  /// Its index among the rules.
  [[nodiscard]] constexpr std::optional<std::uint32_t> rule() const {
    if (rank_ == kNone) return std::nullopt;
    return rank_ & ~kUndemanding;
  }

  friend constexpr bool operator==(const Match&, const Match&) = default;
  /// The one that decides is less; none is behind all.
  friend constexpr auto operator<=>(const Match&, const Match&) = default;

 private:
  static constexpr std::uint32_t kUndemanding = std::uint32_t{1} << 31;
  static constexpr std::uint32_t kNone = UINT32_MAX;
  std::uint32_t rank_ = kNone;
};

class LaneTable {
 public:
  /// The ports of one lane that one rule covers, as key_of() has them; inclusive.
  struct Interval {
    std::uint32_t first = 0;
    std::uint32_t last = 0;
    Match match;
  };
  /// The segments of one place.
  struct Lanes {
    std::uint32_t first = 0;
    std::uint32_t count = 0;
    Match only;  // where one rule stands alone
  };

  [[nodiscard]] static std::uint32_t key_of(const RuleQuery& query);
  /// What `rule` covers, whatever its place is. `is_quic_by_name` as in PolicyInput.
  static void add_intervals(const Rule& rule, const Match& match, bool is_quic_by_name,
                            std::vector<Interval>& out);

  /// Of intervals that are equal, keeps the one whose rule decides; the order is another one then.
  static void keep_deciding(std::vector<Interval>& intervals);
  /// Cuts the overlapping intervals of one place into segments; `intervals` are sorted.
  [[nodiscard]] Lanes add(std::vector<Interval>& intervals);
  /// Whether any rule was added for the purpose.
  [[nodiscard]] bool has(Purpose purpose) const {
    return has_purpose_[static_cast<std::size_t>(purpose)];
  }
  [[nodiscard]] Match find(const Lanes& lanes, std::uint32_t key) const;

  /// Calls visit(Protocol, port) where what the lanes say may change, until it says true.
  template <class Visit>
  bool visit(const Lanes& lanes, Visit& visit) const {
    return std::any_of(segments_.begin() + lanes.first,
                       segments_.begin() + lanes.first + lanes.count, [&](const Segment& segment) {
                         return visit(static_cast<Protocol>((segment.key >> 16) % kProtocols),
                                      static_cast<std::uint16_t>(segment.key));
                       });
  }

 private:
  static constexpr std::uint32_t kProtocols = 3;

  // From `key` on, up to the place's next segment.
  struct Segment {
    std::uint32_t key = 0;
    Match match;  // of a shape that is shared, the first rule that had it
  };

  // One rule's intervals, and the segments that they were cut into. Most rules are of the shape of
  // one of the last few: looking there costs less than cutting.
  struct Shape {
    std::vector<Interval> intervals;
    Lanes lanes;
  };
  static constexpr std::size_t kRecentShapes = 8;

  [[nodiscard]] std::optional<Lanes> find_recent(const std::vector<Interval>& intervals) const;
  [[nodiscard]] static std::vector<Segment> cut(std::vector<Interval>& intervals);
  void share(std::vector<Segment>& segments, Lanes& lanes);

  std::vector<Segment> segments_;
  std::map<std::vector<std::uint32_t>, std::uint32_t> shapes_;  // keys, to their first segment
  std::array<Shape, kRecentShapes> recent_;
  std::size_t next_recent_ = 0;
  std::array<bool, kPurposes> has_purpose_{};
};

}  // namespace cordon

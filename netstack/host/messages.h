// The control channel between translator and supervisor: a SOCK_SEQPACKET pair, one message a
// packet, fixed layout, machine byte order (both ends are the same program). The supervisor reads
// them as hostile: size, kind and every enumerator are checked before use.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "netstack/base/bytes.h"
#include "netstack/seams/events.h"
#include "netstack/wire/dns_name.h"

namespace cordon {

enum class MessageKind : std::uint32_t {
  // translator to supervisor
  kDenied = 1,
  kFlow = 2,
  kNotice = 3,
  kAsked = 4,
  kFlowListed = 5,   // a living flow, in answer to kListFlows
  kFlowsListed = 6,  // the end of a piece of the list; `cursor` is where the next one begins
  kPolicyTaken = 7,  // `generation` is in force, or (`code` not 0) was not understood
  kResolved = 8,     // a name was answered: with addresses, or (`query_type`) with records, of
                     // which there are some (`code` 1) or none (0)
  kIntroduced = 9,   // a flow would begin, and waits until its process has been looked up
  // supervisor to translator
  kDenialTold = 101,      // the process was looked up and the line written: refuse the guest now
  kUpstreams = 102,       // the host's resolv.conf changed
  kAnswer = 103,          // to the question `id`; `action` is what the person said
  kListFlows = 104,       // a piece of the list of living flows, from `cursor` on
  kPolicyPart = 105,      // a piece of a policy snapshot (host/policy_snapshot.h)
  kReportFlows = 106,     // whether flows are reported as they begin and end: `action`, 0 or 1
  kIntroducedTold = 107,  // introduction `id`: its process was looked up, or cannot be
};

struct WireEndpoint {
  std::array<std::uint8_t, 16> octets{};
  std::uint8_t is_v6 = 0;
  std::uint8_t reserved = 0;
  std::uint16_t port = 0;
};

inline constexpr std::size_t kMaxUpstreams = 8;
inline constexpr std::uint32_t kNoRule = 0xffffffff;
inline constexpr std::uint8_t kStillOpen = 0xff;
inline constexpr std::size_t kLongestWireName = 255;

/// What a kPolicyPart carries behind the message.
inline constexpr std::size_t kMaxPartOctets = 32'768;
inline constexpr std::size_t kMaxPacketOctets = 65'536;

/// A domain name in its wire form; a size of 0 is none.
struct WireName {
  std::uint8_t size = 0;
  std::array<std::uint8_t, kLongestWireName> octets{};
};

struct Message {
  MessageKind kind = MessageKind::kNotice;
  std::uint32_t id = 0;
  std::uint32_t generation = 0;  // of the policy that decided, or that a part belongs to
  WireEndpoint guest;
  WireEndpoint dialled;
  std::uint8_t direction = 0;
  std::uint8_t protocol = 0;
  std::uint8_t address_class = 0;
  std::uint8_t is_host_door = 0;
  std::uint8_t action = 0;
  std::uint8_t reason = 0;
  std::uint8_t flow_end = kStillOpen;
  std::uint8_t notice = 0;
  std::uint8_t denial_kind = 0;
  std::uint8_t is_only_reported = 0;
  std::uint8_t limit = 0;
  std::uint8_t fault = 0;
  std::uint16_t query_type = 0;
  std::uint32_t rule = kNoRule;
  std::int32_t code = 0;
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
  std::uint64_t cursor = 0;  // kPolicyPart: where the part begins
  std::uint64_t total = 0;   // kPolicyPart: octets of the whole
  WireName name;
  std::uint32_t upstream_count = 0;
  std::array<WireEndpoint, kMaxUpstreams> upstreams{};
};

[[nodiscard]] Message encode_denial(const Denial& denial);
[[nodiscard]] Message encode_flow(const FlowReport& report);
[[nodiscard]] Message encode_question(const Question& question);
[[nodiscard]] Message encode_resolved(const Resolution& resolution);
[[nodiscard]] Message encode_introduced(std::uint32_t id, const Request& request);
[[nodiscard]] Message encode_notice(Notice notice, int code);

[[nodiscard]] WireEndpoint encode_endpoint(const Endpoint& endpoint);
[[nodiscard]] Endpoint decode_endpoint(const WireEndpoint& endpoint);

/// A message read from the channel, without what may stand behind it (part_of()); nullopt where its
/// size or kind is wrong.
[[nodiscard]] std::optional<Message> decode_message(Bytes packet);
/// What stands behind the message: empty for all kinds but kPolicyPart.
[[nodiscard]] Bytes part_of(Bytes packet);
/// nullopt where an enumerator is out of range, or the name is none. The name goes to `name`, which
/// outlives the result.
[[nodiscard]] std::optional<Denial> decode_denial(const Message& message, DnsName& name);
/// Of kFlow and of kFlowListed.
[[nodiscard]] std::optional<FlowReport> decode_flow(const Message& message, DnsName& name);
[[nodiscard]] std::optional<Question> decode_question(const Message& message, DnsName& name);
/// Always with a name.
[[nodiscard]] std::optional<Resolution> decode_resolved(const Message& message, DnsName& name);
/// Its number is the message's.
[[nodiscard]] std::optional<Request> decode_introduced(const Message& message, DnsName& name);
[[nodiscard]] std::optional<Notice> decode_notice(const Message& message);

}  // namespace cordon

// What comes over the control channel, in both directions: the first octet chooses. Messages are
// fixed in size; what is missing of one is zeros. A policy comes in parts as the octets say.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "netstack/host/messages.h"
#include "netstack/host/policy_snapshot.h"

namespace {

using namespace cordon;

void require(bool claim) {
  if (!claim) std::abort();
}

void check_request(const Request& request, const DnsName& name) {
  require(request.name == nullptr || request.name == &name);
  require(!protocol_name(request.protocol).empty());
  require(!class_name(request.address_class).empty());
}

Bytes bytes_of(const Message& message) {
  return {reinterpret_cast<const std::uint8_t*>(&message), sizeof(message)};
}

void check_message(Bytes data) {
  std::vector<std::uint8_t> packet(std::max(data.size(), sizeof(Message)));
  std::ranges::copy(data, packet.begin());
  const std::optional<Message> message = decode_message(packet);
  if (!message) return;
  require(part_of(packet).size() <= kMaxPartOctets);
  DnsName name;
  const auto denial = decode_denial(*message, name);
  const auto flow = decode_flow(*message, name);
  const auto question = decode_question(*message, name);
  const auto notice = decode_notice(*message);
  const auto resolved = decode_resolved(*message, name);
  const auto introduced = decode_introduced(*message, name);
  require(denial.has_value() + flow.has_value() + question.has_value() + notice.has_value() +
              resolved.has_value() + introduced.has_value() <=
          1);
  if (resolved) check_request(resolved->request, name);
  if (introduced) check_request(*introduced, name);
  if (denial) {
    check_request(denial->request, name);
    DnsName again;
    require(decode_denial(encode_denial(*denial), again)->verdict == denial->verdict);
    require(decode_message(bytes_of(encode_denial(*denial))).has_value());
  }
  if (flow) check_request(flow->request, name);
  if (question) check_request(question->request, name);
}

void check_snapshot(Bytes data) {
  const std::optional<PolicySnapshot> snapshot = decode_snapshot(data);
  if (!snapshot) return;
  const auto again = decode_snapshot(encode_snapshot(*snapshot));
  require(again.has_value() && again->policy.rules == snapshot->policy.rules);
  const Policy policy(snapshot->policy);
  (void)policy.evaluate(Request{});
}

// Parts of up to 255 octets: generation, where from, how many octets, and so on.
void check_parts(Bytes data) {
  SnapshotAssembly assembly;
  std::size_t expected = 0;
  while (data.size() >= 4) {
    Message header;
    header.kind = MessageKind::kPolicyPart;
    header.generation = data[0] & 3U;
    header.cursor = data[1];
    header.total = data[2];
    const Bytes part = data.subspan(4).first(std::min<std::size_t>(data[3], data.size() - 4));
    data = data.subspan(4 + part.size());
    expected = header.cursor + part.size();
    if (assembly.add(header, part) != SnapshotAssembly::State::kComplete) continue;
    const auto octets = assembly.take();
    require(octets.size() == header.total && octets.size() == expected);
    check_snapshot(octets);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const Bytes rest = Bytes(data, size).subspan(1);
  switch (data[0] % 3) {
    case 0:
      check_message(rest);
      break;
    case 1:
      check_snapshot(rest);
      break;
    default:
      check_parts(rest);
  }
  return 0;
}

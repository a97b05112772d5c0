// The guest's connections to the resolver: adopted without a dial, for there is no remote; closed
// when the guest has closed its half and has its answers, or after kDnsStreamIdle without a word.
#include "netstack/tcp/tcp_flows.h"

namespace cordon {
namespace {

// A connection to the resolver that is silent for this long makes room for another.
constexpr Duration kDnsMinIdle = std::chrono::seconds(1);

}  // namespace

void TcpFlows::open_dns(Instant now, const FlowKey& key, const TcpSegment& segment) {
  const std::int16_t place = make_room(now) ? place_for_dns(now) : std::int16_t{-1};
  if (place < 0) return context_.drops.add(Drop::kFlowLimit);
  const std::optional<FlowId> id = insert(now, key, segment, kListDns);
  if (!id) return dns_.give(place);
  Flow& flow = *table_.get(*id);
  flow.dns = place;
  flow.state = State::kConnected;
  adopt(now, *id);
}

std::int16_t TcpFlows::place_for_dns(Instant now) {
  const std::int16_t place = dns_.take();
  if (place >= 0) return place;
  const std::optional<FlowId> oldest = table_.oldest(kListDns);
  if (!oldest || now - table_.used_at(*oldest) < kDnsMinIdle) return -1;
  close_dns(*oldest);
  return dns_.take();
}

void TcpFlows::pump_dns(Instant now, FlowId id) {
  table_.touch(id, kListDns, now);
  const Flow& flow = *table_.get(id);
  settle_dns(id, dns_.pump(now, flow.dns, id, table_.key_of(id), flow.stream.guest));
}

void TcpFlows::on_dns_answer(Instant /*now*/, FlowId id, Bytes message) {
  const Flow* const flow = table_.get(id);
  if (flow == nullptr || flow->state != State::kDns) return;  // The guest did not wait.
  settle_dns(id, dns_.on_answer(flow->dns, flow->stream.guest, message));
}

void TcpFlows::settle_dns(FlowId id, DnsStreams::State state) {
  switch (state) {
    case DnsStreams::State::kOpen:
      return;
    case DnsStreams::State::kDone:
      return close_dns(id);
    case DnsStreams::State::kBroken:
      return end(id, FlowEnd::kReset);
  }
}

void TcpFlows::close_dns(FlowId id) {
  Flow& flow = *table_.get(id);
  if (flow.stream.guest.is_open()) context_.streams.close(flow.stream.guest);
  flow.stream.guest = {};
  end(id, FlowEnd::kClosed);
}

}  // namespace cordon

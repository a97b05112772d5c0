#include "netstack/flow/datagram_flow.h"

#include "netstack/wire/icmp.h"

namespace cordon {

void refuse_datagram(Instant now, const FlowContext& context, const Judgement& judgement,
                     Bytes offending) {
  std::array<std::uint8_t, Refusals::kMaxReply> reply{};
  const IpAddress& guest = judgement.request.guest.address;
  const IcmpErrorFields error{.source = context.admission.link(guest.family()).gateway,
                              .destination = guest,
                              .error = IcmpError::kProhibited};
  std::size_t size = write_icmp_error(reply, error, offending);
  if (size > 0 && !context.link.may_send_icmp_error(now)) size = 0;
  context.refusals.refuse(now, judgement, Bytes(reply).first(size));
}

bool may_open(Instant now, const FlowContext& context, const AllowedDestination& destination,
              Bytes offending) {
  const std::optional<Judgement> denied = one_too_many(context, destination);
  if (!denied) return true;
  const bool is_only_reported = denied->allowed.has_value();
  if (is_only_reported) {
    context.refusals.report(*denied);
  } else {
    refuse_datagram(now, context, *denied, offending);
  }
  return is_only_reported;
}

Measured count_datagram(Instant now, const FlowContext& context, DatagramFlow& flow, Way way,
                        std::size_t octets, std::size_t segment, Bytes offending) {
  const Measured measured =
      measure(now, context, *flow.destination, flow.meter, way, octets, segment);
  if (!measured.passes || measured.octets < octets) context.drops.add(Drop::kBudget);
  if (measured.denied && measured.denied->allowed) {
    context.refusals.report(*measured.denied);
  } else if (measured.denied) {
    refuse_datagram(now, context, *measured.denied, offending);
  }
  return measured;
}

NamedOutcome choose_address(const FlowContext& context, Protocol protocol, const FlowKey& key,
                            DatagramFlow& flow, std::span<const IpAddress> addresses) {
  NamedOutcome outcome;
  outcome.judgement =
      context.admission.judge_name_again(protocol, key.guest, key.remote, flow.is_answered);
  outcome.by_name = outcome.judgement.request;
  if (context.admission.may_resolve(outcome.judgement.verdict)) {
    outcome.state =
        flow.choice.add(context.admission, outcome.by_name, addresses, outcome.judgement);
  }
  return outcome;
}

bool may_live_on(Instant now, const FlowContext& context, const Judgement& judgement,
                 DatagramFlow& flow) {
  std::optional<Judgement> is_over;
  if (judgement.allowed) {
    flow.destination = judgement.allowed;
    renew(context, *flow.destination, flow.meter);
    is_over = time_over(context, *judgement.allowed, flow.meter);
  }
  if (judgement.allowed && !is_over) return true;
  context.refusals.refuse(now, is_over.value_or(judgement), {});
  return false;
}

}  // namespace cordon

#include "netstack/tcp/handshake.h"

#include <algorithm>

namespace cordon {
namespace {

IpHeaderFields from_remote(const FlowKey& flow) {
  return IpHeaderFields{.source = flow.remote.address,
                        .destination = flow.guest.address,
                        .protocol = IpProtocol::kTcp};
}

SynOptions answer_options(const FlowKey& flow, const SynRecord& syn, std::uint16_t mtu,
                          std::uint32_t timestamp) {
  const std::size_t overhead = ip_header_size(flow.guest.address.family()) + kTcpHeaderSize;
  SynOptions options{.mss = static_cast<std::uint16_t>(mtu - overhead),
                     .has_sack_permitted = syn.options.has_sack_permitted};
  if (syn.options.window_scale) options.window_scale = kOurWindowScale;
  if (syn.options.timestamps) {
    options.timestamps =
        SynOptions::Timestamps{.value = timestamp, .echo = syn.options.timestamps->value};
  }
  return options;
}

}  // namespace

Seq initial_sequence(const SipKey& key, const FlowKey& flow, Instant now) {
  const auto ticks =
      std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count() / 4;
  return Seq(static_cast<std::uint32_t>(ticks) + static_cast<std::uint32_t>(flow.hash(key)));
}

Adoption adoption_of(const FlowKey& flow, const SynRecord& syn) {
  const std::uint16_t default_mss = flow.guest.address.is_v4() ? kDefaultMssV4 : kDefaultMssV6;
  return Adoption{.remote = flow.remote,
                  .guest = flow.guest,
                  .iss = syn.iss,
                  .irs = syn.irs,
                  .send_window = syn.window,
                  .receive_window = kSynAckWindow,
                  .offered = syn.options,
                  .mss = std::max(syn.options.mss.value_or(default_mss), kMinMss),
                  .our_window_scale = syn.options.window_scale ? kOurWindowScale : std::uint8_t{0}};
}

std::size_t write_syn_ack(MutableBytes out, const FlowKey& flow, const SynRecord& syn,
                          std::uint16_t mtu, std::uint32_t timestamp) {
  const SynOptions options = answer_options(flow, syn, mtu, timestamp);
  return write_tcp(out, from_remote(flow),
                   TcpHeaderFields{.source_port = flow.remote.port,
                                   .destination_port = flow.guest.port,
                                   .seq = syn.iss,
                                   .ack = syn.irs.plus(1),
                                   .flags = {.syn = true, .ack = true},
                                   .window = kSynAckWindow},
                   &options);
}

std::size_t write_refusal(MutableBytes out, const FlowKey& flow, Seq irs) {
  return write_tcp(out, from_remote(flow),
                   TcpHeaderFields{.source_port = flow.remote.port,
                                   .destination_port = flow.guest.port,
                                   .seq = Seq(0),
                                   .ack = irs.plus(1),
                                   .flags = {.rst = true, .ack = true}},
                   nullptr);
}

std::size_t write_quoted_syn(MutableBytes out, const FlowKey& flow, Seq irs) {
  return write_tcp(out,
                   IpHeaderFields{.source = flow.guest.address,
                                  .destination = flow.remote.address,
                                  .protocol = IpProtocol::kTcp},
                   TcpHeaderFields{.source_port = flow.guest.port,
                                   .destination_port = flow.remote.port,
                                   .seq = irs,
                                   .flags = {.syn = true}},
                   nullptr);
}

}  // namespace cordon

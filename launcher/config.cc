#include "launcher/config.h"

#include <algorithm>

#include <fmt/format.h>

namespace cordon {
namespace {

/// Every flow of the guest costs a socket or two, and a TCP stream its pipes on top; the hard limit
/// of the user lowers this.
constexpr std::uint64_t kTranslatorDescriptors = 262'144;

std::vector<HostNetwork> with_upstreams(std::vector<HostNetwork> networks,
                                        const std::vector<Endpoint>& upstreams) {
  for (const Endpoint& server : upstreams) {
    networks.push_back(
        HostNetwork{.prefix = Prefix(server.address, server.address.bits()),
                    .what = fmt::format("DNS server {}", server.address.to_string())});
  }
  return networks;
}

Result<LinkFamily> link_family(Family family, const std::optional<Prefix>& wanted,
                               const std::vector<HostNetwork>& used) {
  if (wanted) {
    CORDON_TRY_STATUS(check_subnet(*wanted, used));
    return lay_out(*wanted);
  }
  CORDON_TRY(const Prefix subnet, choose_subnet(family, used));
  return lay_out(subnet);
}

std::vector<Endpoint> upstreams_of(const RunOptions& options, const ResolvConf& host) {
  switch (options.dns.kind) {
    case DnsChoice::Kind::kHost:
      return host.servers;
    case DnsChoice::Kind::kList:
      return options.dns.servers;
    case DnsChoice::Kind::kOff:
      break;
  }
  return {};
}

}  // namespace

unsigned default_workers(unsigned processors) {
  // One or two are busy with the ends of the streams; a relay would only take turns with those.
  constexpr unsigned kFewProcessors = 2;
  constexpr unsigned kMostByDefault = 4;
  return processors <= kFewProcessors ? 1 : std::min(processors, kMostByDefault);
}

IpAddress link_local_of(const MacAddress& mac) {
  constexpr std::uint8_t kUniversalBit = 0x02;
  return IpAddress::v6({0xfe, 0x80, 0, 0, 0, 0, 0, 0,
                        static_cast<std::uint8_t>(mac[0] ^ kUniversalBit), mac[1], mac[2], 0xff,
                        0xfe, mac[3], mac[4], mac[5]});
}

Result<SandboxPlan> plan_sandbox(const RunOptions& options, const HostFacts& host) {
  SandboxPlan plan;
  plan.command = options.command;
  plan.is_offline = options.is_offline;
  plan.maps_root = options.maps_root;
  plan.may_nest = options.may_nest;
  plan.has_new_session = options.has_new_session;
  plan.passed_fds = options.pass_fds;
  plan.descriptor_limit = kTranslatorDescriptors;
  if (options.is_offline) return plan;

  plan.workers = options.workers.value_or(default_workers(host.processors));
  TranslatorConfig& translator = plan.translator;
  translator.shares_bulk_out = plan.workers > 1;
  translator.upstreams = upstreams_of(options, host.resolv_conf);
  translator.search = search_domains(host.resolv_conf);
  const auto used = with_upstreams(host.networks, translator.upstreams);
  CORDON_TRY(translator.v4, link_family(Family::kIpv4, options.subnet_v4, used));
  CORDON_TRY(translator.v6, link_family(Family::kIpv6, options.subnet_v6, used));
  translator.guest_link_local = link_local_of(translator.guest_mac);
  translator.gateway_link_local = *IpAddress::parse("fe80::1");
  translator.mtu = options.mtu;
  translator.policy = Policy(options.policy);
  translator.names = options.names;
  const bool has_flows_logged = !options.log_path.empty() && options.logs_flows;
  const bool has_flows_said = options.verbosity == Verbosity::kVerbose;
  translator.reports_flows = has_flows_said || has_flows_logged;
  // Lines of stderr name no process.
  const bool are_names_read = has_flows_logged || !has_flows_said;
  translator.introduces = are_names_read ? Introduces::kSome : Introduces::kNone;

  plan.resolv_conf = options.dns.kind == DnsChoice::Kind::kOff
                         ? guest_resolv_conf_without_dns()
                         : guest_resolv_conf(host.resolv_conf, translator.v4.resolver);
  plan.hosts_lines = fmt::format("{0} {2}\n{1} {2}\n", translator.v4.host_door.to_string(),
                                 translator.v6.host_door.to_string(), kHostDoorName);
  return plan;
}

}  // namespace cordon

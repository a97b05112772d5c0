#include "launcher/host/resolv_conf.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "netstack/host/messages.h"

namespace cordon {
namespace {

constexpr std::uint16_t kDnsPort = 53;
// glibc reads lines of any length; a search list longer than this is somebody's mistake.
constexpr std::size_t kMaxSearchOctets = 2048;

std::string_view take_line(std::string_view& text) {
  const auto end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

std::string_view take_word(std::string_view& line) {
  constexpr std::string_view kBlank = " \t\r\v\f";
  line.remove_prefix(std::min(line.find_first_not_of(kBlank), line.size()));
  const auto end = std::min(line.find_first_of(kBlank), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(end);
  return word;
}

/// Only what a host name may hold goes on into the guest's file.
bool is_plain_name(std::string_view word) {
  return std::all_of(word.begin(), word.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
  });
}

bool is_kept_option(std::string_view word) {
  constexpr std::array<std::string_view, 3> kKept{"ndots:", "timeout:", "attempts:"};
  return std::any_of(kKept.begin(), kKept.end(), [word](std::string_view name) {
    const std::string_view value = word.substr(std::min(name.size(), word.size()));
    return word.starts_with(name) && !value.empty() && value.size() <= 4 &&
           value.find_first_not_of("0123456789") == std::string_view::npos;
  });
}

void read_server(std::string_view word, ResolvConf& conf) {
  if (word.empty()) return;
  const auto address = IpAddress::parse(word);
  // A link-local server needs its zone, and an Endpoint has none.
  const bool is_usable = address && !(address->is_v6() && address->is_link_local()) &&
                         !address->is_multicast_or_broadcast();
  if (!is_usable) {
    conf.skipped.emplace_back(word);
    return;
  }
  // 0.0.0.0 and :: mean this host to glibc.
  Endpoint server{*address, kDnsPort};
  if (address->is_unspecified()) {
    server.address = *IpAddress::parse(address->is_v4() ? "127.0.0.1" : "::1");
  }
  const bool is_new =
      std::find(conf.servers.begin(), conf.servers.end(), server) == conf.servers.end();
  if (is_new && conf.servers.size() < kMaxUpstreams) conf.servers.push_back(server);
}

void read_search(std::string_view line, ResolvConf& conf) {
  conf.search.clear();
  for (auto word = take_word(line); !word.empty(); word = take_word(line)) {
    if (!is_plain_name(word) || conf.search.size() + word.size() > kMaxSearchOctets) continue;
    if (!conf.search.empty()) conf.search += ' ';
    conf.search += word;
  }
}

void read_options(std::string_view line, ResolvConf& conf) {
  for (auto word = take_word(line); !word.empty(); word = take_word(line)) {
    if (is_kept_option(word)) conf.options.emplace_back(word);
  }
}

}  // namespace

ResolvConf parse_resolv_conf(std::string_view text) {
  ResolvConf conf;
  while (!text.empty()) {
    std::string_view line = take_line(text);
    if (line.starts_with('#') || line.starts_with(';')) continue;
    const std::string_view keyword = take_word(line);
    if (keyword == "nameserver") read_server(take_word(line), conf);
    if (keyword == "search") read_search(line, conf);
    if (keyword == "domain") read_search(take_word(line), conf);
    if (keyword == "options") read_options(line, conf);
  }
  return conf;
}

std::string guest_resolv_conf(const ResolvConf& host, const IpAddress& resolver) {
  std::string text = "# Made by cordon: this is the sandbox's own resolver.\n";
  text += fmt::format("nameserver {}\n", resolver.to_string());
  if (!host.search.empty()) text += fmt::format("search {}\n", host.search);
  if (!host.options.empty()) text += fmt::format("options {}\n", fmt::join(host.options, " "));
  return text;
}

std::vector<DnsName> search_domains(const ResolvConf& host) {
  std::vector<DnsName> domains;
  std::string_view rest = host.search;
  for (auto word = take_word(rest); !word.empty(); word = take_word(rest)) {
    if (const auto domain = DnsName::parse(word)) domains.push_back(domain->lower_case());
  }
  return domains;
}

std::string guest_resolv_conf_without_dns() {
  return "# Made by cordon: started with --dns off, so there is no DNS server.\n";
}

}  // namespace cordon

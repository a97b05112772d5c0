#include "launcher/verbs/audit.h"

#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "launcher/audit/audit.h"
#include "launcher/audit/prober.h"
#include "launcher/audit/witness.h"
#include "launcher/complaint.h"
#include "launcher/policy/policy_file.h"
#include "launcher/suggestion.h"
#include "launcher/supervisor.h"

namespace cordon {
namespace {

constexpr std::string_view kAuditHelp =
    R"(Runs a prober inside a sandbox, ours or another's, and says what gets out: servers outside tell
what they heard, whatever the sandbox promised.

Usage: cordon audit [OPTIONS] -- SANDBOX...
       cordon audit --list
       cordon audit --compare FILE...

SANDBOX is the command that makes the sandbox, up to where the command inside would follow; it must
let that command see this program's file:
    cordon audit -- cordon run --policy strict --
    cordon audit -- bwrap --dev-bind / / --unshare-all --share-net
    cordon audit -- pasta --config-net --
    cordon audit -- unshare -rn

  --json                 the result as JSON, with all evidence
  -v, --verbose          all evidence in the table, not only the first piece
  --name NAME            the sandbox's name in a comparison (default: its first word)
  --allowed ADDR:PORT    a destination (TCP) that the sandbox lets out; it must be reached, or the
                         result proves nothing. An IPv6 address stands in brackets
  --public               the sandbox is meant to let the public internet be reached: that names
                         leave through its resolver is no leak then
  --add-address ADDRESS  put ADDRESS on lo for two seconds while the prober tries to connect to it;
                         the one change that an audit makes to this host, and only if asked
                         (CAP_NET_ADMIN)
  --timeout SECONDS      end what takes longer (default: 30)
  --list                 say what is tried, and how
  --compare FILE...      several results of --json as one Markdown table

With CAP_NET_RAW more is seen outside. No load is made: some hundred single packets, none of them to
the internet unless the sandbox's resolver sends its question there.

Exit status: 0 where nothing leaks, 1 where something does, 125 where there is no result, or it
proves nothing.
)";

constexpr auto kOptions = std::to_array<std::string_view>(
    {"--json", "--verbose", "--name", "--allowed", "--public", "--add-address", "--timeout",
     "--list", "--compare", "--help"});

struct AuditOptions {
  bool wants_help = false;
  audit::AuditPlan plan;
  bool wants_json = false;
  bool is_verbose = false;
};

/// ADDR:PORT, [ADDR6]:PORT.
std::optional<Endpoint> parse_endpoint(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const bool is_bracketed = host.size() > 2 && host.starts_with('[') && host.ends_with(']');
  if (is_bracketed) host = host.substr(1, host.size() - 2);
  const auto address = IpAddress::parse(host);
  std::uint16_t port = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, port);
  if (!address || address->is_v6() != is_bracketed || error != std::errc{} || stop != end ||
      port == 0) {
    return std::nullopt;
  }
  return Endpoint{*address, port};
}

Status read_value(std::string_view option, const std::string& value, AuditOptions& options) {
  if (option == "--name") {
    options.plan.name = value;
    return {};
  }
  if (option == "--allowed") {
    options.plan.allowed = parse_endpoint(value);
    if (options.plan.allowed) return {};
    return plain_error(fmt::format(
        "--allowed {}: write ADDRESS:PORT, such as 198.51.100.7:443 or [2001:db8::7]:443", value));
  }
  if (option == "--add-address") {
    options.plan.added_address = IpAddress::parse(value);
    if (options.plan.added_address) return {};
    return plain_error(fmt::format("--add-address {}: is no IP address", value));
  }
  const char* const end = value.data() + value.size();
  const auto [stop, error] = std::from_chars(value.data(), end, options.plan.seconds);
  constexpr unsigned kLongest = 600;
  if (error == std::errc{} && stop == end && options.plan.seconds > 0 &&
      options.plan.seconds <= kLongest) {
    return {};
  }
  return plain_error(fmt::format("--timeout {}: write seconds, 1 to {}", value, kLongest));
}

bool takes_value(std::string_view option) {
  return option == "--name" || option == "--allowed" || option == "--add-address" ||
         option == "--timeout";
}

Status read_flag(const std::string& option, AuditOptions& options) {
  if (option == "--json") {
    options.wants_json = true;
  } else if (option == "-v" || option == "--verbose") {
    options.is_verbose = true;
  } else if (option == "--help" || option == "-h") {
    options.wants_help = true;
  } else if (option == "--public") {
    options.plan.lets_public_out = true;
  } else {
    const auto meant = nearest(option, kOptions);
    return plain_error(fmt::format("audit: unknown option {}; {}", option,
                                   meant ? fmt::format("did you mean {}?", *meant)
                                         : "`cordon audit --help` lists the options"));
  }
  return {};
}

Result<AuditOptions> read_options(std::span<const std::string> arguments) {
  AuditOptions options;
  std::size_t at = 0;
  for (; at < arguments.size() && arguments[at].starts_with('-'); ++at) {
    const std::string& word = arguments[at];
    if (options.wants_help) return options;
    if (word == "--") {
      ++at;
      break;
    }
    const auto equals = word.find('=');
    const std::string option = word.substr(0, equals);
    if (!takes_value(option)) {
      CORDON_TRY_STATUS(read_flag(word, options));
    } else if (equals != std::string::npos) {
      CORDON_TRY_STATUS(read_value(option, word.substr(equals + 1), options));
    } else if (at + 1 < arguments.size() && arguments[at + 1] != "--") {
      CORDON_TRY_STATUS(read_value(option, arguments[++at], options));
    } else {
      return plain_error(fmt::format("audit: {} needs a value", option));
    }
  }
  if (options.wants_help) return options;
  options.plan.sandbox.assign(arguments.begin() + static_cast<std::ptrdiff_t>(at), arguments.end());
  if (options.plan.sandbox.empty() || options.plan.sandbox.front().empty()) {
    return plain_error(
        "audit: the sandbox is missing; write cordon audit -- SANDBOX..., for example "
        "cordon audit -- cordon run --offline --");
  }
  if (options.plan.name.empty()) {
    options.plan.name = std::filesystem::path(options.plan.sandbox.front()).filename();
  }
  return options;
}

int print(const std::string& text) {
  if (std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0) return 0;
  fmt::print(stderr, "cordon: standard output cannot be written\n");
  return kExitOwnFailure;
}

int run_and_print(const AuditOptions& options) {
  const auto report = audit::run_audit(options.plan);
  if (!report) {
    fmt::print(stderr, "cordon: audit: {}\n", report.error().message());
    return kExitOwnFailure;
  }
  const bool has_colour = ::isatty(STDOUT_FILENO) == 1 &&
                          std::getenv("NO_COLOR") == nullptr;  // NOLINT(concurrency-mt-unsafe)
  const int printed =
      print(options.wants_json ? audit::json_of(*report)
                               : audit::table_of(*report, options.is_verbose, has_colour));
  return printed == 0 ? audit::exit_status(*report) : printed;
}

int compare(const std::vector<std::string>& files) {
  std::vector<audit::Report> reports;
  for (const std::string& file : files) {
    const Result<std::string> text = read_policy_octets(file);
    if (!text) {
      complain(text.error().message(), "audit --compare");
      return kExitOwnFailure;
    }
    auto report = audit::read_json(*text);
    if (!report) {
      fmt::print(stderr, "cordon: audit --compare: {} {}\n", file, report.error().message());
      return kExitOwnFailure;
    }
    reports.push_back(*std::move(report));
  }
  return print(audit::comparison_of(reports));
}

}  // namespace

Result<CommandLine> parse_audit(std::span<const std::string> arguments) {
  if (!arguments.empty()) {
    const std::string& first = arguments.front();
    if (first == "--list" && arguments.size() == 1) return show_text(audit::list_of_leaks());
    if (first == "--compare") {
      std::vector<std::string> files(arguments.begin() + 1, arguments.end());
      if (files.empty()) return plain_error("audit: --compare needs the files to compare");
      return perform([files = std::move(files)] { return compare(files); });
    }
  }
  CORDON_TRY(AuditOptions options, read_options(arguments));
  if (options.wants_help) return show_text(kAuditHelp);
  return perform([options = std::move(options)] { return run_and_print(options); });
}

Result<CommandLine> parse_audit_prober(std::span<const std::string> arguments) {
  if (arguments.size() != 1) return plain_error("audit-prober: `cordon audit` starts it");
  return perform([plan = arguments.front()] { return audit::probe(plan); });
}

Result<CommandLine> parse_audit_witness(std::span<const std::string> arguments) {
  if (arguments.size() != 1) return plain_error("audit-witness: `cordon audit` starts it");
  return perform([name = arguments.front()]() -> int { audit::live_as_witness(name); });
}

}  // namespace cordon

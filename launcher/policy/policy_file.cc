// The document is read by toml++; here every key that is known has a function that reads it.

#include "launcher/policy/policy_file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <fcntl.h>
#include <iterator>
#include <optional>
#include <span>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "launcher/path_error.h"
#include "launcher/policy/policy_file_checks.h"
#include "launcher/policy/policy_table_reader.h"
#include "launcher/policy/policy_values.h"
#include "launcher/policy/policy_words.h"
#include "launcher/policy/toml_tokens.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon {
namespace {

bool is_stray(char character) {
  const auto octet = static_cast<std::uint8_t>(character);
  return (octet < 0x20 && octet != '\t' && octet != '\n' && octet != '\r') || octet >= 0x7f;
}

/// The first octet that TOML has no place for: control and non-ASCII characters stand in strings
/// and comments only. (toml++ takes some of them for blanks.)
std::optional<std::size_t> find_stray(std::string_view text) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  const std::size_t start = text.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0;
  for (const TomlToken& token : cut_toml(text.substr(start))) {
    const bool may_hold_any =
        token.kind == TomlToken::Kind::kComment || token.kind == TomlToken::Kind::kString;
    if (may_hold_any) continue;
    const auto stray = std::ranges::find_if(token.text, is_stray);
    if (stray == token.text.end()) continue;
    return start + token.offset + static_cast<std::size_t>(stray - token.text.begin());
  }
  return std::nullopt;
}

Place place_of_octet(std::string_view text, std::size_t offset, const std::string& file) {
  Place place{.file = file, .line = 1, .column = 1};
  for (const char character : text.substr(0, offset)) {
    const bool continues = (static_cast<std::uint8_t>(character) & 0xc0) == 0x80;
    if (character == '\n') {
      ++place.line;
      place.column = 1;
    } else if (!continues) {
      ++place.column;
    }
  }
  return place;
}

// parse_destination() says at which character the text is wrong; the column is that one's, and the
// words need not say it again. Only where no escape stands in the string does the count fit.
void place_at_character(Placed<std::string>& text, std::string& words) {
  const std::string_view marker = "\": character ";
  constexpr std::size_t kQuoteAt = std::string_view("destination ").size();
  const std::size_t at = words.find(marker);
  if (!words.starts_with("destination \"") || at == std::string::npos) return;
  const char* const first = words.data() + at + marker.size();
  std::uint32_t character = 0;
  const auto [stop, error] = std::from_chars(first, words.data() + words.size(), character);
  const std::string_view rest(stop, static_cast<std::size_t>(words.data() + words.size() - stop));
  if (error != std::errc{} || !rest.starts_with(": ")) return;
  text.place.column += character;  // the quote counts for the one that characters start at
  const std::string quoted = words.substr(kQuoteAt, at + 1 - kQuoteAt);
  words = fmt::format("{}: {}", quoted, rest.substr(2));
}

class FileReader {
 public:
  FileReader(const std::string& name, PolicyKind kind) : kind_(kind) { reading_.file.name = name; }

  PolicyReading read(std::string_view text) {
    if (const auto stray = find_stray(text)) {
      reading_.problems.push_back(
          {.place = place_of_octet(text, *stray, reading_.file.name),
           .words = "control and non-ASCII characters stand in strings and comments only"});
      return std::move(reading_);
    }
    const toml::parse_result document = toml::parse(text, std::string_view(reading_.file.name));
    if (!document) {
      const auto& position = document.error().source().begin;
      reading_.problems.push_back(
          {.place = {.file = reading_.file.name, .line = position.line, .column = position.column},
           .words = printable(fmt::format("not TOML: {}", document.error().description()))});
      return std::move(reading_);
    }
    read_document(document.table());
    const auto place_of = [](const Placed<Rule>& rule) {
      return std::pair(rule.place.line, rule.place.column);
    };
    // Mostly they are: rules are heavy, and a sort moves them many times.
    if (!std::ranges::is_sorted(reading_.file.rules, {}, place_of)) {
      std::ranges::stable_sort(reading_.file.rules, {}, place_of);
    }
    // What could not be read is not there to be checked, the rest is.
    std::ranges::move(check_policy_file(reading_.file), std::back_inserter(reading_.problems));
    std::ranges::stable_sort(reading_.problems, {}, [](const Problem& problem) {
      return std::pair(problem.place.line, problem.place.column);
    });
    return std::move(reading_);
  }

 private:
  TableReader reader_of(const toml::table& table, std::string path) {
    return {table, std::move(path), reading_.file.name, reading_.problems};
  }

  void read_document(const toml::table& table) {
    PolicyFile& file = reading_.file;
    TableReader reader = reader_of(table, "");
    read_version(reader);
    if (auto about = reader.string("about", "about = \"what this policy is for\"")) {
      file.about = std::move(about->value);
    }
    read_checked(reader);
    file.use = reader.strings("use", "use = [\"npm\"]");
    read_rules(reader, "allow", Action::kAllow, "allow = [\"pypi.org\", \"github.com:22\"]");
    read_rules(reader, "deny", Action::kDeny, "deny = [\"@lan\"]");
    read_rules(reader, "ask", Action::kAsk, "ask = [\"*.example.com\"]");
    read_rule_tables(reader);
    file.default_action = reader.word("default", kDefaultWords);
    file.mode = reader.word("mode", kModeWords);
    read_publish(reader);
    read_classes(reader);
    read_dns(reader);
    read_tls(reader);
    read_limits(reader);
    read_log(reader);
    reader.refuse_unknown_keys();
    if (kind_ == PolicyKind::kPreset) refuse_settings(table, reader);
  }

  static void read_version(TableReader& reader) {
    const toml::node* const node = reader.find("version");
    if (node == nullptr) {
      reader.refuse(
          {.file = reader.place().file, .line = 1, .column = 1},
          fmt::format("version is missing; write version = {} at the top", kPolicyVersion));
      return;
    }
    const auto* const version = node->as_integer();
    if (version == nullptr || version->get() != kPolicyVersion) {
      reader.refuse(
          *node,
          fmt::format("this cordon understands version = {} of policy files only{}", kPolicyVersion,
                      node->is_string() ? ", and it is written without quotes" : ""));
    }
  }

  void read_checked(TableReader& reader) {
    const toml::node* const node = reader.find("checked");
    if (node == nullptr) return;
    const auto* const date = node->as_date();
    if (date == nullptr) {
      return reader.refuse(*node,
                           "checked must be a date without quotes, as in checked = 2026-01-31");
    }
    const toml::date value = date->get();
    reading_.file.checked = fmt::format("{:04}-{:02}-{:02}", value.year, value.month, value.day);
  }

  static std::optional<Destination> read_destination(TableReader& reader,
                                                     Placed<std::string> text) {
    const Result<Destination> parsed = parse_destination(text.value);
    if (parsed) return *parsed;
    std::string words = parsed.error().message();
    place_at_character(text, words);
    reader.refuse(text.place, std::move(words));
    return std::nullopt;
  }

  void add_rule(const Placed<std::string>& text, const Destination& to, Rule rule) {
    rule.to = to;
    rule.text = text.value;
    rule.origin = text.place.line_string();
    reading_.file.rules.push_back({std::move(rule), text.place});
  }

  void read_rules(TableReader& reader, std::string_view key, Action action,
                  std::string_view example) {
    for (const Placed<std::string>& text : reader.strings(key, example)) {
      const auto to = read_destination(reader, text);
      if (to) add_rule(text, *to, Rule{.action = action});
    }
  }

  void read_rule_tables(TableReader& reader) {
    const toml::node* const node = reader.find("rule");
    if (node == nullptr) return;
    const toml::array* const list = node->as_array();
    if (list == nullptr || !list->is_array_of_tables()) {
      return reader.refuse(*node, "rules are written as tables of a list: [[rule]], two brackets");
    }
    for (const toml::node& element : *list) {
      TableReader rule_reader = reader_of(*element.as_table(), "rule");
      read_rule_table(rule_reader);
    }
  }

  void read_rule_table(TableReader& reader) {
    Rule rule;
    if (auto name = reader.string("name", "name = \"model api\""))
      rule.label = std::move(name->value);
    const auto targets = reader.strings("to", "to = [\"api.example.com\"]", true);
    const auto action = reader.word("action", kActionWords);
    if (action) rule.action = action->value;
    read_budgets(reader, rule);
    const auto is_private = reader.boolean("private");
    rule.may_be_private = is_private && is_private->value;
    const auto needs_tls = reader.boolean("tls");
    rule.needs_tls = needs_tls && needs_tls->value;
    read_dns_types(reader, rule);
    reader.refuse_unknown_keys();
    const bool is_action_known = action || reader.find("action") == nullptr;
    const toml::node* const to_node = reader.find("to");
    const bool is_empty = to_node != nullptr && to_node->is_array() && to_node->as_array()->empty();
    if (to_node == nullptr || is_empty) {
      reader.refuse(reader.place(), "the rule says nothing: add to = [\"DESTINATION\"]");
    }
    for (const Placed<std::string>& text : targets) {
      const auto to = read_destination(reader, text);
      // Of a rule that may mean anything nothing follows.
      if (!to || !is_action_known) continue;
      check_fit(reader, text, *to, rule);
      rule.entry = reader.place().line;
      add_rule(text, *to, rule);
    }
  }

  static void read_budgets(TableReader& reader, Rule& rule) {
    const auto up = reader.amount("up", parse_octets, "up = \"5MB\"");
    const auto down = reader.amount("down", parse_octets, "down = \"1GB\"");
    const auto rate = reader.amount("rate", parse_rate, "rate = \"1MB/s\"");
    const auto flows = reader.count("flows");
    const auto until = reader.amount("until", parse_duration, "until = \"10m\"");
    if (up) rule.limits.up_bytes = up->value;
    if (down) rule.limits.down_bytes = down->value;
    if (rate) rule.limits.bytes_per_second = rate->value;
    if (flows) rule.limits.flows = flows->value;
    if (until) rule.limits.until_seconds = until->value;
    if (rule.action == Action::kDeny && !rule.limits.is_none()) {
      reader.refuse(reader.place(),
                    "a rule that denies has no budget; remove up, down, rate, flows and until");
    }
  }

  static void read_dns_types(TableReader& reader, Rule& rule) {
    for (const Placed<std::string>& text : reader.strings("dns", "dns = [\"SRV\", \"TXT\"]")) {
      if (text.value == "A" || text.value == "AAAA") {
        reader.refuse(text.place, fmt::format("{} is always answered; leave it out", text.value));
        continue;
      }
      const auto type = value_of(kDnsTypes, text.value);
      std::string capitals = text.value;
      std::ranges::transform(capitals, capitals.begin(), [](char c) {
        return static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
      });
      if (!type && value_of(kDnsTypes, capitals)) {
        reader.refuse(text.place,
                      fmt::format("rule.dns: \"{}\": types are written in capitals, as in "
                                  "\"{}\"",
                                  text.value, capitals));
        continue;
      }
      if (!type) {
        reader.refuse(
            text.place,
            fmt::format("rule.dns: \"{}\" is not a type that can be allowed: those are {}",
                        text.value, alternatives(kDnsTypes)));
        continue;
      }
      rule.dns_types.push_back(*type);
    }
    if (rule.action == Action::kDeny && !rule.dns_types.empty()) {
      reader.refuse(reader.place(), "a rule that denies has no dns types; remove dns");
    }
  }

  /// Whether the rule's keys can mean something for this destination.
  static void check_fit(TableReader& reader, const Placed<std::string>& text, const Destination& to,
                        const Rule& rule) {
    const bool is_name = to.kind == Destination::Kind::kName;
    const bool is_one_name = is_name && to.pattern.kind == NamePattern::Kind::kExact;
    if (rule.may_be_private && (!is_one_name || rule.action == Action::kDeny)) {
      reader.refuse(text.place, fmt::format("private = true is for single names that are allowed; "
                                            "\"{}\" is not one: give it a rule of its own",
                                            text.value));
    }
    const bool is_tcp = !to.protocol || to.protocol == Protocol::kTcp;
    if (rule.needs_tls && (!is_tcp || rule.action == Action::kDeny)) {
      reader.refuse(text.place,
                    fmt::format("tls = true is for tcp that is allowed; \"{}\" is not: give it a "
                                "rule of its own",
                                text.value));
    }
    if (!rule.dns_types.empty() && !is_name) {
      reader.refuse(text.place,
                    fmt::format("dns types are asked for names; \"{}\" is none: give it "
                                "a rule of its own",
                                text.value));
    }
  }

  void read_publish(TableReader& reader) {
    for (const auto& text : reader.strings("publish", "publish = [\"127.0.0.1:8080:80/tcp\"]")) {
      auto spec = parse_publish(text.value);
      if (spec) {
        reading_.file.publish.push_back({*std::move(spec), text.place});
      } else {
        reader.refuse(text.place, fmt::format("\"{}\": {}", text.value, spec.error().message()));
      }
    }
  }

  void read_classes(TableReader& reader) {
    const toml::table* const table =
        reader.find_table("classes", "[classes] and below it lan = [\"198.51.100.0/24\"]");
    if (table == nullptr) return;
    TableReader classes = reader_of(*table, "classes");
    for (const AddressClass address_class :
         {AddressClass::kLan, AddressClass::kVpn, AddressClass::kPublic}) {
      const std::string_view name = class_name(address_class);
      for (const auto& text :
           classes.strings(name, fmt::format("{} = [\"198.51.100.0/24\"]", name), true)) {
        read_class(classes, text, address_class);
      }
    }
    classes.refuse_unknown_keys();
  }

  void read_class(TableReader& reader, const Placed<std::string>& text,
                  AddressClass address_class) {
    const auto prefix = Prefix::parse(text.value);
    if (!prefix) {
      return reader.refuse(
          text.place, fmt::format("\"{}\" is not a prefix such as 198.51.100.0/24 or 2001:db8::/32 "
                                  "(bits behind the prefix length must be zero)",
                                  text.value));
    }
    const ClassOverride candidate{.prefix = *prefix, .address_class = address_class};
    if (const auto refusal = refuse_override(candidate)) {
      return reader.refuse(text.place, fmt::format("\"{}\": {}", text.value, *refusal));
    }
    reading_.file.classes.push_back({candidate, text.place});
  }

  void read_dns(TableReader& reader) {
    const toml::table* const table = reader.find_table("dns", "[dns] and below it mode = \"map\"");
    if (table == nullptr) return;
    TableReader dns = reader_of(*table, "dns");
    const auto servers = dns.strings("upstream", "upstream = [\"9.9.9.9\"]", true);
    if (!servers.empty()) {
      std::vector<std::string> texts;
      texts.reserve(servers.size());
      for (const auto& server : servers) texts.push_back(server.value);
      auto choice = parse_dns_choice(texts);
      if (choice) {
        reading_.file.dns.upstream = Placed<DnsChoice>{*std::move(choice), servers.front().place};
      } else {
        dns.refuse(servers.front().place, "dns.upstream: " + choice.error().message());
      }
    }
    reading_.file.dns.mode = dns.word("mode", kDnsModeWords);
    reading_.file.dns.wildcard_names_per_minute =
        dns.amount("wildcard-budget", parse_per_minute, "wildcard-budget = \"60/min\"");
    dns.refuse_unknown_keys();
  }

  void read_tls(TableReader& reader) {
    const toml::table* const table = reader.find_table("tls", "[tls] and below it sni = \"match\"");
    if (table == nullptr) return;
    TableReader tls = reader_of(*table, "tls");
    reading_.file.tls.sni = tls.word("sni", kSniWords);
    reading_.file.tls.ech = tls.word("ech", kEchWords);
    reading_.file.tls.quic = tls.word("quic", kQuicWords);
    tls.refuse_unknown_keys();
  }

  void read_limits(TableReader& reader) {
    const toml::table* const table =
        reader.find_table("limits", "[limits] and below it up = \"5MB\"");
    if (table == nullptr) return;
    TableReader limits = reader_of(*table, "limits");
    reading_.file.limits.flows = limits.count("flows");
    reading_.file.limits.up_bytes = limits.amount("up", parse_octets, "up = \"5MB\"");
    reading_.file.limits.down_bytes = limits.amount("down", parse_octets, "down = \"1GB\"");
    reading_.file.limits.bytes_per_second = limits.amount("rate", parse_rate, "rate = \"1MB/s\"");
    reading_.file.limits.seconds = limits.amount("time", parse_duration, "time = \"10m\"");
    limits.refuse_unknown_keys();
  }

  void read_log(TableReader& reader) {
    const toml::table* const table =
        reader.find_table("log", "[log] and below it file = \"flows.json\"");
    if (table == nullptr) return;
    TableReader log = reader_of(*table, "log");
    reading_.file.log.file = log.string("file", "file = \"flows.json\"");
    if (reading_.file.log.file && reading_.file.log.file->value.empty()) {
      log.refuse(reading_.file.log.file->place, "log.file: the file's name is empty");
    }
    reading_.file.log.format = log.word("format", kLogFormatWords);
    reading_.file.log.flows = log.boolean("flows");
    reading_.file.log.denied = log.boolean("denied");
    log.refuse_unknown_keys();
  }

  /// A preset is for everybody: it says where something lives, not how anybody wants to be guarded.
  static void refuse_settings(const toml::table& table, TableReader& reader) {
    for (const std::string_view key :
         {"default", "mode", "publish", "classes", "dns", "tls", "limits", "log"}) {
      const toml::node* const node = table.get(key);
      if (node == nullptr) continue;
      reader.refuse(*node, fmt::format("a preset holds rules only; {} belongs into a policy", key));
    }
  }

  PolicyKind kind_;
  PolicyReading reading_;
};

}  // namespace

std::string Place::to_string() const {
  return line == 0 ? file : fmt::format("{}:{}:{}", file, line, column);
}

std::string Place::line_string() const {
  return line == 0 ? file : fmt::format("{}:{}", file, line);
}

PolicyReading read_policy_text(std::string_view text, const std::string& name, PolicyKind kind) {
  return FileReader(name, kind).read(text);
}

Result<std::string> read_policy_octets(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!file.is_open()) return path_error(errno, path, PathUse::kRead);
  struct stat status {};
  if (::fstat(file.get(), &status) == 0 && S_ISDIR(status.st_mode)) {
    return path_error(EISDIR, path, PathUse::kRead);
  }
  std::string text;
  std::array<char, 65536> piece{};
  for (;;) {
    const ssize_t count = ::read(file.get(), piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return path_error(errno, path, PathUse::kRead);
    if (count == 0) return text;
    text.append(piece.data(), static_cast<std::size_t>(count));
    if (text.size() > kLargestPolicyFile) {
      return plain_error(
          fmt::format("{}: a policy file has at most {} MiB", path, kLargestPolicyFile >> 20));
    }
  }
}

std::string summary_of(const std::vector<Problem>& problems) {
  std::string lines;
  const std::size_t told = std::min(problems.size(), kMostProblemsTold);
  for (const Problem& problem : std::span(problems).first(told)) {
    lines += fmt::format("{}{}", lines.empty() ? "" : "\n", problem.to_string());
  }
  if (told < problems.size()) {
    lines += fmt::format("\n{}: and {} more; `cordon policy check {}` tells all",
                         problems.front().place.file, problems.size() - told,
                         problems.front().place.file);
  }
  return lines;
}

}  // namespace cordon

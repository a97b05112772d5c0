// From what a run reached to a policy that a person would have written.
//
// What was seen is gathered by destination. Then, in this order: presets take the names that they
// are about (names of a preset that the run did not need come along with it); three names and more
// under one parent become a suffix rule, where the parent is nobody's to sell names under; the rest
// are rules for themselves. What only a rule for a floor class would open stands there as a
// comment, with its reason, for a person to decide; so do names that were looked up and never
// dialled, which such a policy does not answer. Names that were asked for other records (SRV, MX,
// TXT) have rules that list the types and let nothing be dialled. Every line says why it is there.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "launcher/events/process_lookup.h"
#include "netstack/base/result.h"
#include "netstack/seams/events.h"

namespace cordon {

/// All flows to one destination.
struct LearnedDestination {
  Protocol protocol = Protocol::kTcp;
  std::string name;     // empty: an address
  std::string address;  // with a port for tcp and udp; empty where there is a name
  std::uint16_t port = 0;
  bool is_host_door = false;
  AddressClass address_class = AddressClass::kPublic;
  bool is_denied = false;  // by the floor; all of its flows
  std::uint64_t flows = 0;
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
  std::set<std::string> programs;
  std::int64_t first_seen_unix_milliseconds = 0;

  /// As a rule is written: "api.example", "api.example:8080", "udp/198.51.100.7:123", "host:5432".
  [[nodiscard]] std::string to_string() const;
};

/// A name that was answered.
struct LearnedName {
  std::string name;
  std::int64_t first_seen_unix_milliseconds = 0;
};

/// Types of records that a name was asked for beside A and AAAA.
struct LearnedRecords {
  std::string name;
  std::set<std::uint16_t> found;
  std::set<std::uint16_t> in_vain;  // there were none, each time
  std::int64_t first_seen_unix_milliseconds = 0;
};

/// Gathers what the translator tells.
class Learner {
 public:
  void on_flow(std::int64_t unix_milliseconds, const FlowReport& report,
               const std::optional<GuestProcess>& process);
  void on_denial(std::int64_t unix_milliseconds, const Denial& denial,
                 const std::optional<GuestProcess>& process);
  void on_resolved(std::int64_t unix_milliseconds, const Resolution& resolution);
  /// In the order in which they were first seen.
  [[nodiscard]] std::vector<LearnedDestination> destinations() const;
  /// The names that no flow went to, likewise.
  [[nodiscard]] std::vector<LearnedName> names_not_dialled() const;
  /// By name.
  [[nodiscard]] std::vector<LearnedRecords> records_asked() const;

 private:
  LearnedDestination* at(std::int64_t unix_milliseconds, const Request& request, bool is_denied,
                         const std::optional<GuestProcess>& process);
  std::map<std::string, LearnedDestination> seen_;
  std::map<std::string, LearnedName> resolved_;
  std::map<std::string, LearnedRecords> records_;
};

/// Presets and public suffixes, as learned_policy() needs them; tests bring their own.
class PolicyLore {
 public:
  virtual ~PolicyLore() = default;
  [[nodiscard]] virtual std::optional<std::string> preset_for(
      std::span<const std::string> names) const = 0;
  /// Whether that preset allows tcp `port` of `name`.
  [[nodiscard]] virtual bool covers(const std::string& preset, const std::string& name,
                                    std::uint16_t port) const = 0;
  /// Whether strangers have names under it.
  [[nodiscard]] virtual bool is_public_suffix(const std::string& name) const = 0;
  /// Whether a rule may be for this very name.
  [[nodiscard]] virtual bool may_be_named(const std::string& name) const = 0;
};

struct LearnedRun {
  std::vector<std::string> command;
  std::string date;  // "2026-01-31"
  std::vector<LearnedDestination> destinations;
  std::vector<LearnedName> names_not_dialled;
  std::vector<LearnedRecords> records_asked;
  std::vector<ClassOverride> classes;  // that were given: without them the rules mean less
};

/// The text of a policy file.
[[nodiscard]] std::string learned_policy(const LearnedRun& run, const PolicyLore& lore);

}  // namespace cordon

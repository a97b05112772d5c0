#include "netstack/flow/budgets.h"

#include <algorithm>
#include <limits>

#include "netstack/base/invariant.h"

namespace cordon {
namespace {

constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t kNanoseconds = std::nano::den;
// So that a rate times the burst's nanoseconds fits 64 bits; nothing here is faster.
constexpr std::uint64_t kMostRate = 100'000'000'000;

std::uint64_t octets_in(Duration time, std::uint64_t rate) {
  return static_cast<std::uint64_t>(time.count()) * rate / kNanoseconds;
}

std::uint64_t burst_of(std::uint64_t rate) {
  return std::max(octets_in(kRateBurst, rate), kMinRateBurst);
}

// "policy.toml:12" is policy.toml: a rule stays what it is when lines are put in above it.
std::string_view file_of(std::string_view origin) {
  while (!origin.empty()) {
    const std::size_t colon = origin.rfind(':');
    const bool is_number = colon != std::string_view::npos && colon + 1 < origin.size() &&
                           std::ranges::all_of(origin.substr(colon + 1), [](char character) {
                             return character >= '0' && character <= '9';
                           });
    if (!is_number) break;
    origin = origin.substr(0, colon);
  }
  return origin;
}

std::string key_of(const Rule& rule) {
  std::string key(file_of(rule.origin));
  key += '\n';
  key += rule.label.empty() ? rule.text : rule.label;
  return key;
}

bool is_one_entry(const Rule& one, const Rule& other) {
  return one.entry != 0 && one.entry == other.entry && file_of(one.origin) == file_of(other.origin);
}

}  // namespace

Budgets::Budgets(Instant start, const Policy& policy) : start_(start), accounts_(1) {
  set_policy(start, policy);
}

void Budgets::set_policy(Instant now, const Policy& policy) {
  for (Account& account : accounts_) {
    account.is_in_use = false;
    account.limits = {};
  }
  accounts_.front().is_in_use = true;
  set_limits(now, accounts_.front(), policy.input().limits);
  index_rules(now, policy.rules());
  is_limited_ = std::ranges::any_of(
      accounts_, [](const Account& account) { return !account.limits.is_none(); });
  find_next_end(now);
}

void Budgets::index_rules(Instant now, std::span<const Rule> rules) {
  of_rule_.assign(rules.size(), 0);
  for (std::size_t i = 0; i < rules.size(); ++i) {
    if (rules[i].limits.is_none()) continue;
    if (i > 0 && is_one_entry(rules[i - 1], rules[i])) {
      of_rule_[i] = of_rule_[i - 1];
      continue;
    }
    const std::uint32_t index = account_for(key_of(rules[i]));
    set_limits(now, accounts_[index], rules[i].limits);
    of_rule_[i] = index;
  }
}

// The account that the rule had, or a new one. Those of rules that are gone stay, for a policy that
// has them again: whoever takes a rule away and puts it back has not paid its budget.
std::uint32_t Budgets::account_for(const std::string& key) {
  const auto same = std::ranges::find_if(
      accounts_, [&](const Account& account) { return !account.is_in_use && account.key == key; });
  if (same != accounts_.end()) return static_cast<std::uint32_t>(same - accounts_.begin());
  accounts_.push_back(Account{.key = key});
  return static_cast<std::uint32_t>(accounts_.size() - 1);
}

void Budgets::set_limits(Instant now, Account& account, const RuleLimits& limits) {
  account.is_in_use = true;
  account.limits = limits;
  account.limits.bytes_per_second = std::min(limits.bytes_per_second, kMostRate);
  account.is_over = is_over(now, account);
  const std::uint64_t burst = burst_of(account.limits.bytes_per_second);
  account.rate.level = account.rate.last == Instant{} ? burst : std::min(account.rate.level, burst);
  account.rate.last = std::max(account.rate.last, now);
}

bool Budgets::is_over(Instant now, const Account& account) const {
  const std::uint32_t seconds = account.limits.until_seconds;
  return seconds != 0 && now - start_ >= std::chrono::seconds(seconds);
}

void Budgets::find_next_end(Instant now) {
  next_end_ = kNever;
  for (const Account& account : accounts_) {
    if (account.limits.until_seconds == 0 || is_over(now, account)) continue;
    next_end_ =
        std::min<Instant>(next_end_, start_ + std::chrono::seconds(account.limits.until_seconds));
  }
}

bool Budgets::on_deadline(Instant now) {
  if (next_end_ > now) return false;
  for (Account& account : accounts_) account.is_over = is_over(now, account);
  find_next_end(now);
  return true;
}

BudgetAccount Budgets::account_of(std::optional<std::uint32_t> rule) const {
  if (!rule || *rule >= of_rule_.size()) return {};
  return {of_rule_[*rule]};
}

template <class Check>
bool Budgets::all_of(BudgetAccount account, Check check) const {
  return check(accounts_.front()) && (account.index == 0 || check(accounts_[account.index]));
}

bool Budgets::may_open(BudgetAccount account) const {
  if (!is_limited_) return true;
  return may_go_on(account) && all_of(account, [](const Account& each) {
           const RuleLimits& limits = each.limits;
           return (limits.flows == 0 || each.flows < limits.flows) &&
                  (limits.up_bytes == 0 || each.up < limits.up_bytes) &&
                  (limits.down_bytes == 0 || each.down < limits.down_bytes);
         });
}

bool Budgets::may_go_on(BudgetAccount account) const {
  return !is_limited_ || all_of(account, [](const Account& each) { return !each.is_over; });
}

void Budgets::join(BudgetAccount account) {
  ++accounts_.front().flows;
  if (account.index != 0) ++accounts_[account.index].flows;
}

void Budgets::leave(BudgetAccount account) {
  const auto leave_one = [](Account& each) {
    if (CORDON_INVARIANT(each.flows > 0)) --each.flows;
  };
  leave_one(accounts_.front());
  if (account.index != 0) leave_one(accounts_[account.index]);
}

Grant Budgets::grant(Instant now, BudgetAccount account, Way way) {
  Grant both{.octets = kUnlimited};
  if (!is_limited_) return both;
  const auto restrict_by = [&](Account& each) {
    const Grant one = grant_of(now, each, way);
    // The later one to be satisfied says when to come again; who is used up, never.
    if (one.octets == 0)
      both.again = both.octets == 0 ? std::max(both.again, one.again) : one.again;
    both.octets = std::min(both.octets, one.octets);
    both.is_used_up = both.is_used_up || one.is_used_up;
  };
  restrict_by(accounts_.front());
  if (account.index != 0) restrict_by(accounts_[account.index]);
  return both;
}

Grant Budgets::grant_of(Instant now, Account& account, Way way) {
  const bool is_up = way == Way::kUp;
  const std::uint64_t most = is_up ? account.limits.up_bytes : account.limits.down_bytes;
  const std::uint64_t used = is_up ? account.up : account.down;
  Grant grant{.octets = most == 0 ? kUnlimited : most - std::min(most, used)};
  if (grant.octets == 0) return Grant{.is_used_up = true};
  const std::uint64_t rate = account.limits.bytes_per_second;
  if (rate == 0) return grant;
  fill(now, account);
  const std::uint64_t quantum =
      std::clamp<std::uint64_t>(octets_in(kRateQuantum, rate), 1, burst_of(rate));
  // Not for less than a quantum, unless less is all that there will ever be.
  const std::uint64_t wanted = std::min(quantum, grant.octets);
  if (account.rate.level < wanted) {
    const std::uint64_t missing = wanted - account.rate.level;
    const auto wait = Duration(static_cast<Duration::rep>(missing * kNanoseconds / rate + 1));
    return Grant{.again = account.rate.last + wait};
  }
  grant.octets = std::min(grant.octets, account.rate.level);
  return grant;
}

void Budgets::fill(Instant now, Account& account) {
  const std::uint64_t rate = account.limits.bytes_per_second;
  const std::uint64_t burst = burst_of(rate);
  Rate& bucket = account.rate;
  if (now <= bucket.last) return;
  // How long the rest of the burst takes; a longer pause fills the bucket and no more.
  const std::uint64_t to_fill = (burst - bucket.level) * kNanoseconds / rate + 1;
  const Duration passed = now - bucket.last;
  if (static_cast<std::uint64_t>(passed.count()) >= to_fill) {
    bucket.level = burst;
    bucket.last = now;
    return;
  }
  const std::uint64_t octets = octets_in(passed, rate);
  bucket.level += octets;
  // Only the time of whole octets: the rest counts next time.
  bucket.last += Duration(static_cast<Duration::rep>(octets * kNanoseconds / rate));
}

void Budgets::spend(BudgetAccount account, Way way, std::uint64_t octets) {
  if (!is_limited_) return;
  const auto spend_one = [&](Account& each) {
    (way == Way::kUp ? each.up : each.down) += octets;
    each.rate.level -= std::min(each.rate.level, octets);
  };
  spend_one(accounts_.front());
  if (account.index != 0) spend_one(accounts_[account.index]);
}

bool Budgets::take(Instant now, BudgetAccount account, Way way, std::uint64_t octets) {
  if (!is_limited_) return true;
  if (grant(now, account, way).octets < octets) return false;
  spend(account, way, octets);
  return true;
}

}  // namespace cordon

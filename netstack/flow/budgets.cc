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

std::int64_t burst_of(std::uint64_t rate) {
  return static_cast<std::int64_t>(std::max(octets_in(kRateBurst, rate), kMinRateBurst));
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
  for (Account& account : accounts_) account.limits = {};
  set_limits(now, accounts_.front(), policy.input().limits);
  index_rules(now, policy.rules());
  is_limited_ = std::ranges::any_of(
      accounts_, [](const Account& account) { return !account.limits.is_none(); });
  find_next_end(now);
}

void Budgets::index_rules(Instant now, std::span<const Rule> rules) {
  of_rule_.assign(rules.size(), 0);
  FreeAccounts free;
  for (std::uint32_t i = 1; i < accounts_.size(); ++i) free.emplace(accounts_[i].key, i);
  for (std::size_t i = 0; i < rules.size(); ++i) {
    if (rules[i].limits.is_none()) continue;
    if (i > 0 && is_one_entry(rules[i - 1], rules[i])) {
      of_rule_[i] = of_rule_[i - 1];
      continue;
    }
    const std::uint32_t index = account_for(key_of(rules[i]), free);
    set_limits(now, accounts_[index], rules[i].limits);
    of_rule_[i] = index;
  }
}

// The account that the rule had, or a new one. Those of rules that are gone stay, for a policy that
// has them again: whoever takes a rule away and puts it back has not paid its budget.
std::uint32_t Budgets::account_for(std::string key, FreeAccounts& free) {
  const auto same = free.lower_bound({key, 0});
  if (same != free.end() && same->first == key) {
    const std::uint32_t index = same->second;
    free.erase(same);
    return index;
  }
  accounts_.push_back(Account{.key = std::move(key)});
  return static_cast<std::uint32_t>(accounts_.size() - 1);
}

void Budgets::set_limits(Instant now, Account& account, const RuleLimits& limits) {
  account.limits = limits;
  account.limits.bytes_per_second = std::min(limits.bytes_per_second, kMostRate);
  account.is_over = is_over(now, account);
  const std::int64_t burst = burst_of(account.limits.bytes_per_second);
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
  return all_of(account, [](const Account& each) { return limit_of(each) == Limit::kNone; });
}

bool Budgets::bounds_octets(BudgetAccount account) const {
  const auto is_free = [](const Account& each) {
    const RuleLimits& limits = each.limits;
    return limits.up_bytes == 0 && limits.down_bytes == 0 && limits.bytes_per_second == 0 &&
           limits.until_seconds == 0;
  };
  return is_limited_ && !all_of(account, is_free);
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

std::uint64_t Budgets::left(const Account& account, Way way) {
  const bool is_up = way == Way::kUp;
  const std::uint64_t most = is_up ? account.limits.up_bytes : account.limits.down_bytes;
  const std::uint64_t used = is_up ? account.up : account.down;
  return most == 0 ? kUnlimited : most - std::min(most, used);
}

Grant Budgets::grant_of(Instant now, Account& account, Way way) {
  Grant grant{.octets = left(account, way)};
  if (grant.octets == 0) return Grant{.is_used_up = true};
  const std::uint64_t rate = account.limits.bytes_per_second;
  if (rate == 0) return grant;
  fill(now, account);
  const std::uint64_t quantum = std::clamp<std::uint64_t>(
      octets_in(kRateQuantum, rate), 1, static_cast<std::uint64_t>(burst_of(rate)));
  // Not for less than a quantum, unless less is all that there will ever be.
  const auto wanted = static_cast<std::int64_t>(std::min(quantum, grant.octets));
  if (account.rate.level < wanted) {
    const auto missing = static_cast<std::uint64_t>(wanted - account.rate.level);
    const auto wait = Duration(static_cast<Duration::rep>(missing * kNanoseconds / rate + 1));
    return Grant{.again = account.rate.last + wait};
  }
  grant.octets = std::min(grant.octets, static_cast<std::uint64_t>(account.rate.level));
  return grant;
}

void Budgets::fill(Instant now, Account& account) {
  const std::uint64_t rate = account.limits.bytes_per_second;
  const std::int64_t burst = burst_of(rate);
  Rate& bucket = account.rate;
  if (now <= bucket.last) return;
  // How long the rest of the burst takes; a longer pause fills the bucket and no more.
  const std::uint64_t to_fill =
      static_cast<std::uint64_t>(burst - bucket.level) * kNanoseconds / rate + 1;
  const Duration passed = now - bucket.last;
  if (static_cast<std::uint64_t>(passed.count()) >= to_fill) {
    bucket.level = burst;
    bucket.last = now;
    return;
  }
  const std::uint64_t octets = octets_in(passed, rate);
  bucket.level += static_cast<std::int64_t>(octets);
  // Only the time of whole octets: the rest counts next time.
  bucket.last += Duration(static_cast<Duration::rep>(octets * kNanoseconds / rate));
}

void Budgets::spend(BudgetAccount account, Way way, std::uint64_t octets) {
  if (!is_limited_) return;
  const auto spend_one = [&](Account& each) {
    (way == Way::kUp ? each.up : each.down) += octets;
    // A stream takes no more than it is granted; where it does (report mode), it owes nothing.
    const std::int64_t there = std::max<std::int64_t>(each.rate.level, 0);
    each.rate.level -=
        static_cast<std::int64_t>(std::min(static_cast<std::uint64_t>(there), octets));
  };
  spend_one(accounts_.front());
  if (account.index != 0) spend_one(accounts_[account.index]);
}

Taken Budgets::take_of(Instant now, Account& account, Way way, std::uint64_t octets,
                       std::uint64_t segment) {
  if (account.limits.bytes_per_second != 0) {
    fill(now, account);
    if (account.rate.level <= 0) return Taken{.passes = false};
  }
  const std::uint64_t most = left(account, way);
  if (most != 0 && most >= octets) return Taken{.octets = octets};
  const std::uint64_t whole = segment == 0 ? 0 : most / segment * segment;
  return Taken{.passes = whole != 0,
               .octets = whole,
               .used_up = {.limit = way == Way::kUp ? Limit::kUp : Limit::kDown}};
}

Taken Budgets::take(Instant now, BudgetAccount account, Way way, std::uint64_t octets,
                    std::uint64_t segment) {
  if (!is_limited_) return Taken{.octets = octets};
  Taken taken = take_of(now, accounts_.front(), way, octets, segment);
  if (taken.passes && account.index != 0) {
    const Taken by_rule = take_of(now, accounts_[account.index], way, taken.octets, segment);
    const bool is_cut = !by_rule.passes || by_rule.octets < taken.octets;
    if (is_cut) taken = by_rule;
    taken.used_up.is_of_rule = is_cut;
  }
  if (!taken.passes) return taken;
  const auto count = [&](Account& each) {
    (way == Way::kUp ? each.up : each.down) += taken.octets;
    if (each.limits.bytes_per_second != 0) {
      each.rate.level -= static_cast<std::int64_t>(taken.octets);
    }
  };
  count(accounts_.front());
  if (account.index != 0) count(accounts_[account.index]);
  return taken;
}

Limit Budgets::limit_of(const Account& account) {
  if (account.is_over) return Limit::kTime;
  if (left(account, Way::kUp) == 0) return Limit::kUp;
  if (left(account, Way::kDown) == 0) return Limit::kDown;
  const std::uint32_t most = account.limits.flows;
  return most != 0 && account.flows >= most ? Limit::kFlows : Limit::kNone;
}

UsedUp Budgets::used_up(BudgetAccount account) const {
  const Limit of_rule = account.index == 0 ? Limit::kNone : limit_of(accounts_[account.index]);
  if (of_rule != Limit::kNone) return {.limit = of_rule, .is_of_rule = true};
  return {.limit = limit_of(accounts_.front())};
}

}  // namespace cordon

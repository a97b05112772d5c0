// The flow table: a hash index over a fixed pool of slots, with the flows of each list in the order
// in which they were last used.
//
// All memory is reserved at construction and touched only as slots come into use; nothing is
// allocated later. Buckets are chained by slot number, so nothing is rehashed and an erase leaves
// no tombstone. The hash is keyed (SipHash): a guest cannot pile flows up in one bucket.
//
// Instead of a timer per flow there are lists, one for each timeout: a flow enters at the young end
// when it is used, so the old end is always the next to expire, and the deadline of a list is that
// of its first.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>

#include "netstack/base/invariant.h"
#include "netstack/base/siphash.h"
#include "netstack/base/time.h"

namespace cordon {

/// Names a slot for as long as its flow lives: the generation changes when the slot is used again.
struct FlowId {
  std::uint32_t index = 0;
  std::uint32_t generation = 0;
  friend bool operator==(FlowId, FlowId) = default;
};

/// `Key` has `hash(const SipKey&)` and ==. `Value` is trivially copyable and cheap to reset.
/// `Lists` is how many ageing lists there are; a flow is in exactly one. A key that says kIsValue
/// is hashed once where it is looked for and then inserted.
template <class Key, class Value, std::size_t Lists>
class FlowTable {
  static_assert(std::is_trivially_destructible_v<Value>);

 public:
  /// `capacity` up to 2^24 - 1 slots.
  FlowTable(std::size_t capacity, const SipKey& key)
      : capacity_(static_cast<std::uint32_t>(capacity)),
        bucket_mask_(std::bit_ceil(capacity_ * 2 + 1) - 1),
        // Zeroed lazily by the kernel: an empty table costs no memory.
        buckets_(zeroed<std::uint32_t>(bucket_mask_ + std::size_t{1})),
        slots_(zeroed<Slot>(capacity)),
        key_(key) {}

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::size_t capacity() const { return capacity_; }
  [[nodiscard]] std::size_t size_of(std::size_t list) const { return lists_[list].size; }

  [[nodiscard]] std::optional<FlowId> find(const Key& key) const {
    const std::uint32_t bucket = bucket_of(key);
    if constexpr (kKeepsKeys) sought_ = Sought{.key = key, .bucket = bucket, .is_set = true};
    for (std::uint32_t link = buckets_[bucket]; link != kNone; link = slot(link).chain) {
      if (slot(link).key == key) return id_of(link);
    }
    return std::nullopt;
  }

  /// nullptr where the flow has gone.
  [[nodiscard]] Value* get(FlowId id) {
    Slot* const found = live_slot(id);
    return found == nullptr ? nullptr : &found->value;
  }
  [[nodiscard]] const Value* get(FlowId id) const {
    const Slot* const found = live_slot(id);
    return found == nullptr ? nullptr : &found->value;
  }
  [[nodiscard]] const Key& key_of(FlowId id) const { return slots_[id.index].key; }
  [[nodiscard]] Instant used_at(FlowId id) const { return slots_[id.index].used; }

  /// A new flow with a default Value, or nullopt where the table is full. `key` is not in the
  /// table.
  [[nodiscard]] std::optional<FlowId> insert(const Key& key, std::size_t list, Instant now) {
    std::uint32_t link = free_;
    if (link != kNone) {
      free_ = slot(link).chain;
    } else if (used_slots_ < capacity_) {
      link = ++used_slots_;
    } else {
      return std::nullopt;
    }
    Slot& fresh = slot(link);
    fresh.key = key;
    fresh.value = Value{};
    fresh.is_live = true;
    fresh.generation = (fresh.generation + 1) & kGenerationMask;
    // What is inserted has mostly just been looked for.
    fresh.bucket = bucket_for_insert(key);
    fresh.chain = buckets_[fresh.bucket];
    buckets_[fresh.bucket] = link;
    ++size_;
    append(link, list, now);
    return id_of(link);
  }

  void erase(FlowId id) {
    Slot* const gone = live_slot(id);
    if (!CORDON_INVARIANT(gone != nullptr)) return;
    const std::uint32_t link = id.index + 1;
    std::uint32_t* from = &buckets_[gone->bucket];
    while (*from != link) from = &slot(*from).chain;
    *from = gone->chain;
    unlink(link);
    gone->is_live = false;
    gone->chain = free_;
    free_ = link;
    --size_;
  }

  /// Moves the flow to the young end of `list`.
  void touch(FlowId id, std::size_t list, Instant now) {
    if (live_slot(id) == nullptr) return;
    unlink(id.index + 1);
    append(id.index + 1, list, now);
  }

  /// The flow of `list` that has been idle the longest.
  [[nodiscard]] std::optional<FlowId> oldest(std::size_t list) const {
    const std::uint32_t link = lists_[list].first;
    if (link == kNone) return std::nullopt;
    return id_of(link);
  }

  /// When the oldest flow of `list` will have been idle for `timeout`.
  [[nodiscard]] Instant deadline(std::size_t list, Duration timeout) const {
    const std::uint32_t link = lists_[list].first;
    return link == kNone ? kNever : slot(link).used + timeout;
  }

  /// The live flow at `index` or the next one behind it; for sweeps over the whole table in pieces.
  [[nodiscard]] std::optional<FlowId> next_from(std::uint32_t index) const {
    for (; index < used_slots_; ++index) {
      if (slots_[index].is_live) return FlowId{index, slots_[index].generation};
    }
    return std::nullopt;
  }

 private:
  static constexpr std::uint32_t kNone = 0;  // links are slot numbers plus one
  static constexpr std::uint32_t kGenerationMask = 0xffffff;

  struct Slot {
    Key key;
    Value value;
    std::uint32_t bucket;
    std::uint32_t chain;
    std::uint32_t generation;
    std::uint32_t younger;
    std::uint32_t older;
    Instant used;
    std::uint8_t list;
    bool is_live;
  };
  struct List {
    std::uint32_t first = kNone;  // oldest
    std::uint32_t last = kNone;
    std::uint32_t size = 0;
  };
  // A key that is a value of its own, and not one that points to somebody's.
  static constexpr bool kKeepsKeys = requires { Key::kIsValue; };
  // The key that was looked for last: the keyed hash is dear.
  struct Sought {
    Key key{};
    std::uint32_t bucket = 0;
    bool is_set = false;
  };
  struct Free {
    // NOLINTNEXTLINE(cppcoreguidelines-no-malloc): it is calloc() that gives pages unwritten
    void operator()(void* memory) const { std::free(memory); }
  };

  template <class T>
  static std::unique_ptr<T[], Free> zeroed(std::size_t count) {
    // NOLINTNEXTLINE(cppcoreguidelines-no-malloc): it is calloc() that gives pages unwritten
    void* const memory = std::calloc(count, sizeof(T));
    if (memory == nullptr) std::abort();  // At start only; there is nothing to go on with.
    return std::unique_ptr<T[], Free>(static_cast<T*>(memory));
  }

  [[nodiscard]] std::uint32_t bucket_of(const Key& key) const {
    return static_cast<std::uint32_t>(key.hash(key_)) & bucket_mask_;
  }
  [[nodiscard]] std::uint32_t bucket_for_insert(const Key& key) const {
    if constexpr (kKeepsKeys) {
      if (sought_.is_set && sought_.key == key) return sought_.bucket;
    }
    return bucket_of(key);
  }
  [[nodiscard]] Slot& slot(std::uint32_t link) { return slots_[link - 1]; }
  [[nodiscard]] const Slot& slot(std::uint32_t link) const { return slots_[link - 1]; }
  [[nodiscard]] FlowId id_of(std::uint32_t link) const {
    return FlowId{link - 1, slot(link).generation};
  }
  [[nodiscard]] Slot* live_slot(FlowId id) {
    if (id.index >= used_slots_) return nullptr;
    Slot& candidate = slots_[id.index];
    return candidate.is_live && candidate.generation == id.generation ? &candidate : nullptr;
  }

  [[nodiscard]] const Slot* live_slot(FlowId id) const {
    if (id.index >= used_slots_) return nullptr;
    const Slot& candidate = slots_[id.index];
    return candidate.is_live && candidate.generation == id.generation ? &candidate : nullptr;
  }

  void append(std::uint32_t link, std::size_t list, Instant now) {
    List& target = lists_[list];
    Slot& entry = slot(link);
    entry.list = static_cast<std::uint8_t>(list);
    entry.used = now;
    entry.older = target.last;
    entry.younger = kNone;
    (target.last == kNone ? target.first : slot(target.last).younger) = link;
    target.last = link;
    ++target.size;
  }
  void unlink(std::uint32_t link) {
    const Slot& entry = slot(link);
    List& source = lists_[entry.list];
    (entry.older == kNone ? source.first : slot(entry.older).younger) = entry.younger;
    (entry.younger == kNone ? source.last : slot(entry.younger).older) = entry.older;
    --source.size;
  }

  std::uint32_t capacity_;
  std::uint32_t bucket_mask_;
  std::unique_ptr<std::uint32_t[], Free> buckets_;
  std::unique_ptr<Slot[], Free> slots_;
  SipKey key_;
  mutable Sought sought_;
  std::array<List, Lists> lists_{};
  std::uint32_t free_ = kNone;
  std::uint32_t used_slots_ = 0;
  std::size_t size_ = 0;
};

}  // namespace cordon

#include "netstack/udp/datagram_trains.h"

#include <algorithm>

namespace cordon {
namespace {

// Not of the size: that is what a train adds.
bool are_alike(const SendFields& a, const SendFields& b) {
  return a.ttl == b.ttl && a.traffic_class == b.traffic_class && a.may_fragment == b.may_fragment;
}

}  // namespace

void DatagramTrains::add(FlowId flow, const SendFields& fields, Bytes payload, bool is_alone,
                         TrainSink& sink) {
  Open& train = train_of(flow, sink);
  if (joins(train, fields, payload, is_alone)) {
    train.fields.segment_size = static_cast<std::uint16_t>(train.parts[0].size());
    train.is_closed = payload.size() < train.parts[0].size();
  } else {
    let_go(train, sink);
    train.fields = fields;
    train.is_closed = is_alone || fields.segment_size != 0 || payload.empty();
  }
  train.parts[train.count++] = payload;
  train.octets += payload.size();
}

DatagramTrains::Open& DatagramTrains::train_of(FlowId flow, TrainSink& sink) {
  const auto end = open_.begin() + static_cast<std::ptrdiff_t>(count_);
  const auto found =
      std::find_if(open_.begin(), end, [&](const Open& train) { return train.flow == flow; });
  if (found != end) return *found;
  if (count_ == open_.size()) let_go(sink);
  Open& fresh = open_[count_++];
  fresh.flow = flow;
  return fresh;
}

bool DatagramTrains::joins(const Open& train, const SendFields& fields, Bytes payload,
                           bool is_alone) {
  return train.count > 0 && !train.is_closed && !is_alone && fields.segment_size == 0 &&
         !payload.empty() && payload.size() <= train.parts[0].size() && train.count < kMaxParts &&
         train.octets + payload.size() <= kMaxOctets && are_alike(train.fields, fields);
}

void DatagramTrains::let_go(Open& train, TrainSink& sink) {
  if (train.count == 0) return;
  const DatagramTrain whole{.flow = train.flow,
                            .fields = train.fields,
                            .parts = std::span(train.parts).first(train.count)};
  train.count = 0;
  train.octets = 0;
  sink.on_train(whole);
}

void DatagramTrains::let_go(TrainSink& sink) {
  const std::size_t count = count_;
  count_ = 0;
  for (std::size_t i = 0; i < count; ++i) let_go(open_[i], sink);
}

}  // namespace cordon

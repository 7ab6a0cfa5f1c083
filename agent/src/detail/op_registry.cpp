#include "detail/op_registry.hpp"

namespace hf::agent {

void op_registry::expire(clock::time_point now) {
  while (!done_.empty() &&
         (now - done_.front().first >= limits_.results || done_.size() > limits_.max_results)) {
    auto const it = entries_.find(done_.front().second);
    if (it != entries_.end() && it->second.now == state::done) {
      it->second.now = state::forgotten;
      it->second.kept.reset();
      forgotten_.emplace_back(now, done_.front().second);
    }
    done_.pop_front();
  }
  while (!forgotten_.empty() && now - forgotten_.front().first >= limits_.digests) {
    auto const it = entries_.find(forgotten_.front().second);
    if (it != entries_.end() && it->second.now == state::forgotten)
      entries_.erase(it);
    forgotten_.pop_front();
  }
}

op_registry::answer op_registry::begin(std::string const& op, sha256_digest const& digest,
                                       clock::time_point now) {
  expire(now);
  auto const it = entries_.find(op);
  if (it == entries_.end()) {
    if (entries_.size() >= limits_.max_digests)
      return {verdict::full};
    entry& made = entries_[op];
    made.digest = digest;
    return {verdict::fresh};
  }
  if (it->second.digest != digest)
    return {verdict::conflict};
  switch (it->second.now) {
    case state::working:
      return {verdict::busy};
    case state::done:
      return {verdict::replay, it->second.kept->status, it->second.kept->body};
    case state::forgotten:
      break;
  }
  return {verdict::gone};
}

void op_registry::complete(std::string const& op, int status, wire::json body,
                           clock::time_point now) {
  auto const it = entries_.find(op);
  if (it == entries_.end() || it->second.now != state::working)
    return;
  it->second.now = state::done;
  it->second.kept = std::make_unique<reply>(reply{status, std::move(body)});
  done_.emplace_back(now, op);
  expire(now);
}

void op_registry::abandon(std::string const& op) {
  auto const it = entries_.find(op);
  if (it != entries_.end() && it->second.now == state::working)
    entries_.erase(it);
}

void op_registry::forget(std::string const& op, clock::time_point now) {
  auto const it = entries_.find(op);
  if (it == entries_.end() || it->second.now == state::forgotten)
    return;
  it->second.now = state::forgotten;
  it->second.kept.reset();
  forgotten_.emplace_back(now, op);
}

op_registry::verdict op_registry::look(std::string const& op, clock::time_point now) {
  expire(now);
  auto const it = entries_.find(op);
  if (it == entries_.end())
    return verdict::fresh;
  switch (it->second.now) {
    case state::working:
      return verdict::busy;
    case state::done:
      return verdict::replay;
    case state::forgotten:
      break;
  }
  return verdict::gone;
}

}  // namespace hf::agent

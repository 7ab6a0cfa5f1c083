#include "exec/run_table.hpp"

#include <charconv>
#include <utility>

namespace hf::agent {

run_table::run_table(exec_core& core, op_registry& ops, log_budget const& budget)
    : core_(core),
      ops_(ops),
      budget_(budget),
      reliever_(core.relievers.insert(core.relievers.end(), [this] { relieve(); })),
      clock_(core.shared.loop) {}

run_table::~run_table() {
  core_.relievers.erase(reliever_);
  for (auto const& one : running_)
    one.second->on_ended(nullptr);
}

std::optional<std::uint64_t> run_table::number(std::string_view id) {
  std::uint64_t value = 0;
  // Ids are texts: "p-01" is not "p-1".
  if (!id.starts_with("p-") || id.size() < 3 || (id[2] == '0' && id.size() > 3))
    return std::nullopt;
  auto const end = id.data() + id.size();
  auto const parsed = std::from_chars(id.data() + 2, end, value);
  if (parsed.ec != std::errc() || parsed.ptr != end)
    return std::nullopt;
  return value;
}

void run_table::add(std::shared_ptr<run> const& started) {
  if (auto const id = number(started->id())) {
    entries_.emplace(*id, entry{started, !started->foreground(), true});
    if (!started->op().empty())
      by_op_[started->op()] = *id;
  }
  running_.emplace(started.get(), started);
  if (started->ended())
    ended(*started);
  else
    started->on_ended([this](run& one) { ended(one); });
}

std::shared_ptr<run> run_table::by_id(std::string_view id) const {
  auto const key = number(id);
  auto const it = key ? entries_.find(*key) : entries_.end();
  return it == entries_.end() ? nullptr : it->second.what;
}

std::shared_ptr<run> run_table::by_pid(std::int64_t pid) const {
  std::shared_ptr<run> found;
  // A pid that came again is the youngest one's.
  for (auto const& one : entries_)
    if (one.second.what->pid() == pid)
      found = one.second.what;
  return found;
}

std::shared_ptr<run> run_table::by_op(std::string const& op) const {
  auto const it = by_op_.find(op);
  if (it == by_op_.end())
    return nullptr;
  auto const at = entries_.find(it->second);
  return at == entries_.end() || !at->second.kept ? nullptr : at->second.what;
}

std::vector<std::shared_ptr<run>> run_table::list(bool all) const {
  std::vector<std::shared_ptr<run>> found;
  for (auto const& one : entries_)
    if (one.second.listed || all)
      found.push_back(one.second.what);
  return found;
}

std::vector<std::shared_ptr<run>> run_table::running() const {
  std::vector<std::shared_ptr<run>> found;
  for (auto const& one : running_)
    found.push_back(one.second);
  return found;
}

void run_table::ended(run& one) {
  auto const keep = running_.extract(&one);
  auto const id = number(one.id());
  auto const it = id ? entries_.find(*id) : entries_.end();
  if (it == entries_.end())
    return;
  ended_.emplace_back(clock::now(), *id);
  if (it->second.listed)
    listed_.push_back(*id);
  expire();
  start_clock();
}

void run_table::delivered(run& one) {
  if (!one.ended())
    return;
  if (one.op().empty()) {
    one.drop_output();
    if (one.foreground())
      remove(one);
    return;
  }
  auto const id = number(one.id());
  auto const it = id ? entries_.find(*id) : entries_.end();
  if (it == entries_.end() || std::exchange(it->second.delivered, true))
    return;
  delivered_.emplace_back(*id, one.log().memory());
  delivered_memory_ += delivered_.back().second;
  while (delivered_memory_ > core_.settings.delivered_memory)
    drop_oldest_delivered();
  while (!delivered_.empty() && entries_.count(delivered_.front().first) == 0)
    drop_oldest_delivered();
}

void run_table::drop_oldest_delivered() {
  auto const [id, size] = delivered_.front();
  delivered_.pop_front();
  delivered_memory_ -= size;
  if (auto const it = entries_.find(id); it != entries_.end())
    it->second.what->drop_output();
}

void run_table::relieve() {
  while (budget_.memory_short() && !delivered_.empty())
    drop_oldest_delivered();
}

void run_table::give_up_result(entries::iterator at) {
  auto& one = at->second;
  one.kept = false;
  one.what->forget();
  if (!one.what->op().empty()) {
    by_op_.erase(one.what->op());
    ops_.forget(one.what->op());
  }
  if (!one.listed)
    entries_.erase(at);
}

void run_table::remove(run& one) {
  auto const id = number(one.id());
  auto const it = id ? entries_.find(*id) : entries_.end();
  if (it == entries_.end())
    return;
  it->second.listed = false;
  give_up_result(it);
}

void run_table::trim_list() {
  while (listed_.size() > core_.settings.listed) {
    auto const it = entries_.find(listed_.front());
    listed_.pop_front();
    if (it == entries_.end())
      continue;
    it->second.listed = false;
    if (!it->second.kept)
      entries_.erase(it);
  }
}

void run_table::expire() {
  auto const now = clock::now();
  while (!ended_.empty() && (now - ended_.front().first >= core_.settings.results ||
                             ended_.size() > core_.settings.max_results)) {
    auto const it = entries_.find(ended_.front().second);
    ended_.pop_front();
    if (it != entries_.end())
      give_up_result(it);
  }
}

void run_table::start_clock() {
  if (clock_runs_ || ended_.empty())
    return;
  clock_runs_ = true;
  clock_.expires_at(ended_.front().first + core_.settings.results);
  clock_.async_wait([this](boost::system::error_code const& error) {
    // Also called when the table, and the timer with it, is gone.
    if (error)
      return;
    clock_runs_ = false;
    expire();
    start_clock();
  });
}

}  // namespace hf::agent

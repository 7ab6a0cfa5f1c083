#include "exec/output_log.hpp"

#include <algorithm>
#include <utility>

namespace hf::agent {

void output_log::disk_job::run() {
  if (segment->on_disk) {
    content.clear();
    ok = file->read(segment->file_position, content.reserve(segment->size), segment->size);
    content.grow_by(ok ? segment->size : 0);
  } else {
    ok = file->open() && file->write(segment->file_position, segment->data.view());
  }
}

output_log::disk_job output_log::load_next(log_reader const& reader) const {
  return {file_, find(reader.next_)};
}

bool output_log::loaded(log_reader& reader, disk_job&& job) {
  // What was given up while it was being read may have been overwritten.
  if (job.ok && job.segment->charged != 0) {
    reader.loaded_segment_ = std::move(job.segment);
    reader.loaded_ = std::move(job.content);
    return true;
  }
  // So that whoever asks again is told, rather than sent here for ever.
  while (!segments_.empty() && segments_.front()->first_seq <= job.segment->first_seq)
    drop_oldest();
  reader.segment_.reset();
  return false;
}

bool output_log::can_spill() const {
  if (disk_failed_ || limits_.spill == 0)
    return false;
  for (std::size_t i = 0; i + 1 < segments_.size(); ++i)
    if (!segments_[i]->on_disk && !segments_[i]->spilling)
      return true;
  return false;
}

output_log::disk_job output_log::spill_oldest() {
  disk_job job;
  if (disk_failed_)
    return job;
  auto const it = std::find_if(segments_.begin(), segments_.end(), [](auto const& segment) {
    return !segment->on_disk && !segment->spilling;
  });
  if (it == segments_.end() || it + 1 == segments_.end())
    return job;
  auto const size = (*it)->size;
  if (disk_ + size > limits_.spill || !budget_.disk_has(size))
    return job;
  if (!file_) {
    file_ = std::make_shared<spill_file>();
    file_end_ = 0;
  }
  if (disk_ == 0)
    file_end_ = 0;
  (*it)->spilling = true;
  (*it)->file_position = file_end_;
  file_end_ += size;
  disk_ += size;
  budget_.add_disk(size);
  job.file = file_;
  job.segment = *it;
  return job;
}

void output_log::spilled(disk_job&& job) {
  auto& segment = *job.segment;
  segment.spilling = false;
  bool const dropped = segment.charged == 0;
  if (dropped) {
    job.file->discard(segment.file_position, segment.size);
    return;
  }
  if (!job.ok) {
    disk_failed_ = true;
    disk_ -= segment.size;
    budget_.remove_disk(segment.size);
    return;
  }
  if (!std::exchange(disk_bounded_, true))
    // Logs of other runs lie there already and are not free space any more.
    budget_.disk_limit =
        (std::min)(budget_.disk_limit, job.file->tenth_of_free_space() + budget_.disk_used);
  segment.on_disk = true;
  memory_ -= segment.charged;
  budget_.remove_memory(segment.charged);
  segment.charged = sizeof(log_segment);
  memory_ += segment.charged;
  budget_.add_memory(segment.charged);
  segment.data.release();
}

}  // namespace hf::agent

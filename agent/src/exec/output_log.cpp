#include "exec/output_log.hpp"

#include "exec/event_encoder.hpp"

#include <algorithm>
#include <utility>

namespace hf::agent {

log_segment& output_log::segment_for(std::size_t bytes) {
  std::size_t const needed = bytes + record_header::size;
  if (!segments_.empty() && !sealed_) {
    auto& last = *segments_.back();
    if (!last.on_disk && !last.spilling && last.data.capacity() - last.data.size() >= needed)
      return last;
  }
  // Small runs take little, long ones large pieces.
  auto segment = std::make_shared<log_segment>();
  segment->first_seq = segment->end_seq = next_seq_;
  segment->first_byte = segment->end_byte = total_bytes_;
  next_capacity_ = (std::min)(4 * next_capacity_, largest_segment_);
  std::size_t const capacity = (std::max)(needed, next_capacity_);
  segment->data.reserve(capacity);
  segment->charged = segment->data.capacity() + sizeof(log_segment);
  memory_ += segment->charged;
  budget_.add_memory(segment->charged);
  segments_.push_back(std::move(segment));
  sealed_ = false;
  return *segments_.back();
}

void output_log::append_piece(wire::output_stream stream, std::string_view bytes) {
  if (!segments_.empty() && !sealed_ && last_seq() > frozen_) {
    auto& last = *segments_.back();
    if (last.end_seq > last.first_seq && !last.on_disk && !last.spilling &&
        last.data.capacity() - last.data.size() >= bytes.size()) {
      auto header = record_header::load(last.data.data() + last.last_record);
      if (header.stream == stream && header.length + bytes.size() <= max_record) {
        last.data.append(bytes);
        header.length += static_cast<std::uint32_t>(bytes.size());
        header.store(last.data.data() + last.last_record);
        last.size = last.data.size();
        total_bytes_ += bytes.size();
        last.end_byte = total_bytes_;
        return;
      }
    }
  }
  auto& segment = segment_for(bytes.size());
  segment.last_record = segment.data.size();
  char* const to = segment.data.reserve(record_header::size);
  record_header{stream, static_cast<std::uint32_t>(bytes.size())}.store(to);
  segment.data.grow_by(record_header::size);
  segment.data.append(bytes);
  segment.size = segment.data.size();
  segment.end_seq = ++next_seq_;
  total_bytes_ += bytes.size();
  segment.end_byte = total_bytes_;
}

void output_log::append(wire::output_stream stream, std::string_view bytes) {
  std::size_t const longest = (std::min)(max_record, largest_segment_);
  while (!bytes.empty()) {
    auto piece = bytes.substr(0, longest);
    // Not through the middle of a character.
    if (auto const cut = incomplete_utf8_tail(piece);
        piece.size() < bytes.size() && cut < piece.size())
      piece.remove_suffix(cut);
    append_piece(stream, piece);
    bytes.remove_prefix(piece.size());
  }
}

std::uint64_t output_log::take_number() {
  sealed_ = true;
  return next_seq_++;
}

std::uint64_t output_log::first_seq() const {
  return segments_.empty() ? next_seq_ : segments_.front()->first_seq;
}

std::shared_ptr<log_segment> output_log::find(std::uint64_t seq) const {
  auto const it = std::upper_bound(
      segments_.begin(), segments_.end(), seq,
      [](std::uint64_t wanted, auto const& segment) { return wanted < segment->end_seq; });
  return it == segments_.end() || (*it)->first_seq > seq ? nullptr : *it;
}

void output_log::attach(log_reader& reader) {
  // Exact to the segment is enough: it only bounds `unread`.
  std::uint64_t byte = total_bytes_;
  if (auto const segment = find(reader.next_))
    byte = segment->first_byte;
  else if (!segments_.empty() && reader.next_ < segments_.front()->first_seq)
    byte = segments_.front()->first_byte;
  reader.read_byte_ = reader.sent_byte_ = byte;
  readers_.push_back(&reader);
}

void output_log::detach(log_reader& reader) {
  readers_.erase(std::remove(readers_.begin(), readers_.end(), &reader), readers_.end());
  if (unwanted_ && readers_.empty())
    clear();
}

output_log::fetched output_log::fetch(log_reader& reader, std::size_t enough,
                                      record_sink const& sink) {
  if (reader.next_ >= next_seq_)
    return fetched::at_end;
  std::size_t given = 0;
  while (given < enough && reader.next_ < next_seq_) {
    if (!reader.segment_ || reader.next_ < reader.segment_->first_seq ||
        reader.next_ >= reader.segment_->end_seq) {
      auto const segment = find(reader.next_);
      if (!segment) {
        if (given != 0)
          break;
        return reader.next_ < first_seq() ? fetched::gone : fetched::other_number;
      }
      reader.segment_ = segment;
      reader.offset_ = 0;
      reader.read_byte_ = segment->first_byte;
    }
    auto& segment = *reader.segment_;
    byte_buffer* content = &segment.data;
    if (segment.on_disk) {
      if (reader.loaded_segment_ != reader.segment_)
        return given != 0 ? fetched::records : fetched::spilled;
      content = &reader.loaded_;
    }
    // A place that was found by number only: count up to it.
    if (reader.offset_ == 0)
      for (auto seq = segment.first_seq; seq < reader.next_; ++seq) {
        auto const header = record_header::load(content->data() + reader.offset_);
        reader.offset_ += record_header::size + header.length;
        reader.read_byte_ += header.length;
      }
    auto const header = record_header::load(content->data() + reader.offset_);
    sink(header.stream, {content->data() + reader.offset_ + record_header::size, header.length},
         reader.next_);
    reader.offset_ += record_header::size + header.length;
    reader.read_byte_ += header.length;
    given += header.length + record_header::size;
    frozen_ = (std::max)(frozen_, reader.next_);
    ++reader.next_;
  }
  return fetched::records;
}

void output_log::delivered(log_reader& reader) {
  reader.sent_ = reader.next_ - 1;
  reader.sent_byte_ = reader.read_byte_;
  std::uint64_t seq = reader.sent_;
  std::uint64_t byte = reader.sent_byte_;
  for (auto const* other : readers_) {
    seq = (std::min)(seq, other->sent_);
    byte = (std::min)(byte, other->sent_byte_);
  }
  delivered_seq_ = (std::max)(delivered_seq_, seq);
  delivered_byte_ = (std::max)(delivered_byte_, byte);
  trim();
}

void output_log::trim() {
  while (!segments_.empty()) {
    auto& front = *segments_.front();
    if (front.end_seq - 1 > delivered_seq_ || delivered_byte_ - front.end_byte < window_)
      return;
    if (segments_.size() == 1 && !sealed_ && !front.on_disk && !front.spilling) {
      if (window_ != 0)
        return;
      // Everything was delivered: the memory is used again.
      front.first_seq = front.end_seq = next_seq_;
      front.first_byte = front.end_byte = total_bytes_;
      front.data.clear();
      front.size = 0;
      for (auto* reader : readers_)
        if (reader->segment_.get() == &front)
          reader->segment_.reset();
      return;
    }
    pop_front();
  }
}

void output_log::pop_front() {
  auto const front = std::move(segments_.front());
  segments_.pop_front();
  memory_ -= front->charged;
  budget_.remove_memory(front->charged);
  front->charged = 0;
  if (front->on_disk || front->spilling) {
    disk_ -= front->size;
    budget_.remove_disk(front->size);
    // While it is being written, its space is given back afterwards.
    if (front->on_disk && file_)
      file_->discard(front->file_position, front->size);
  }
}

bool output_log::drop_oldest() {
  if (segments_.empty())
    return false;
  auto const& front = *segments_.front();
  std::uint64_t const lost_from = (std::max)(front.first_byte, delivered_byte_);
  if (front.end_byte > lost_from)
    dropped_ += front.end_byte - lost_from;
  if (segments_.size() == 1)
    sealed_ = true;
  pop_front();
  return true;
}

void output_log::clear_when_unread() {
  unwanted_ = true;
  if (readers_.empty())
    clear();
}

void output_log::clear() {
  unwanted_ = false;
  while (!segments_.empty())
    pop_front();
  sealed_ = true;
  file_.reset();
}

std::uint64_t output_log::unread() const {
  std::uint64_t least = total_bytes_;
  for (auto const* reader : readers_)
    least = (std::min)(least, reader->sent_byte_);
  return total_bytes_ - least;
}

std::uint64_t output_log::undelivered() const {
  if (segments_.empty())
    return 0;
  return total_bytes_ - (std::max)(segments_.front()->first_byte, delivered_byte_);
}

}  // namespace hf::agent

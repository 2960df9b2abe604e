package journal

import (
	"context"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// compareRoots computes the root after each leaf that a checkpoint speaks of, and
// returns all hashes of the tree in the order in which they are stored.
func compareRoots(leaves []tlog.Hash, claims []claim, result *Verification) memoryHashes {
	bySize := map[int64][]claim{}
	for _, one := range claims {
		bySize[one.tree.N] = append(bySize[one.tree.N], one)
	}
	var memory memoryHashes
	for index, leaf := range leaves {
		hashes, err := tlog.StoredHashesForRecordHash(int64(index), leaf, &memory)
		if err != nil {
			result.problem("place %d of the log: %v", index, err)
			return memory
		}
		memory = append(memory, hashes...)
		size := int64(index) + 1
		wanted, exists := bySize[size]
		if !exists && size != int64(len(leaves)) {
			continue
		}
		root, err := tlog.TreeHash(size, &memory)
		if err != nil {
			result.problem("root of %d leaves: %v", size, err)
			return memory
		}
		result.Root = root.String()
		for _, one := range wanted {
			if one.tree.Hash != root {
				result.problem("the signed checkpoint of %d leaves (%s) does not fit the acts: history was rewritten", size, one.source)
			}
		}
		delete(bySize, size)
	}
	for size := range bySize { // order does not matter: one sentence for all
		if size > int64(len(leaves)) {
			result.problem("a signed checkpoint covers %d leaves and only %d are left: the end was cut off", size, len(leaves))
			break
		}
	}
	return memory
}

// compareStored compares the hashes that the sequencer will build on with those
// that the acts give. They only ever grow at the end.
func compareStored(ctx context.Context, reader Reader, hashes memoryHashes, result *Verification) error {
	rows, err := reader.Query(ctx, `SELECT chunk, hashes FROM log_hash ORDER BY chunk`)
	if err != nil {
		return err
	}
	defer rows.Close()
	next := 0
	for rows.Next() {
		var number int64
		var data []byte
		if err := rows.Scan(&number, &data); err != nil {
			return err
		}
		if number != int64(next/chunkHashes) {
			break // a row is missing: said below
		}
		for ; next < len(hashes) && len(data) >= tlog.HashSize; next++ {
			if tlog.Hash(data[:tlog.HashSize]) != hashes[next] {
				result.problem("stored hash %d of the log is not what the acts give", next)
				return nil
			}
			data = data[tlog.HashSize:]
		}
	}
	if next < len(hashes) {
		result.problem("stored hash %d of the log is missing", next)
	}
	return rows.Err()
}

type memoryHashes []tlog.Hash

func (all *memoryHashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if index >= int64(len(*all)) {
			return nil, fmt.Errorf("hash %d is missing", index)
		}
		hashes[i] = (*all)[index]
	}
	return hashes, nil
}

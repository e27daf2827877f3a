"""From stored arrays to verdicts: scores per seed, statistics over seeds, claims, findings.

Everything here can be recomputed from files on any computer; nothing imports torch.

    runs/<arm>/s<seed>/  --score_arm-->  results/<arm>/seeds/s<seed>.json, results/<arm>/history.csv
    results/, claims.yaml  --build-->  findings.json  --render-->  findings.md
"""

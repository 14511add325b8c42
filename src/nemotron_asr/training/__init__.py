"""From manifests to a trained model: data, augmentation, the transducer loss and one trainer.

selection.py     clips -> those that a model can learn from
data.py          clips -> batches; cache.py: decoded audio on disk; augment.py: what happens to it on its way
objective.py     a batch -> its loss; replay.py: the predictor over a known text
joint.py         the joint in blocks of cells; loss.py: the transducer's lattice; spelling.py: what CTC is taught
trainer.py       the loop; state.py: what survives a kill; parallel.py: several processes; watching.py: who follows
validation.py    word error rates on the way
initialise.py    starting values
finetune.py      all of this from any checkpoint: options.py; adapters.py: LoRA; locales.py, pieces.py: new languages
subwords.py      the same words in other pieces
card.py          the model card
"""

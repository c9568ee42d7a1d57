"""What the lessons call: models, suites, training, evaluation, figures and widgets."""

import warnings

# PEFT and TRL still use a setting's old name. A learner cannot mend that, and would see it in red.
warnings.filterwarnings("ignore", ".*gradient_checkpointing.* is deprecated", FutureWarning)
